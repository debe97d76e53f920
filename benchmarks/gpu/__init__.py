"""Checks and times the CUDA kernels with nvcc, NumPy, and PyTorch or CuPy, without TensorFlow."""
