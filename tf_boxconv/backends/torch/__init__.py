"""PyTorch: the compiled kernels as custom operators on the CPU, the portable form elsewhere."""

from tf_boxconv.backends.torch.box_conv import box_conv2d
from tf_boxconv.backends.torch.integral_image import integral_image

# `torch.compile` takes the operators into its graph as they are.
SUPPORTS_JIT = True

__all__ = ["SUPPORTS_JIT", "box_conv2d", "integral_image"]
