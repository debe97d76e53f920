"""The CUDA kernels by themselves: no TensorFlow, only nvcc, NumPy, and PyTorch or CuPy."""
