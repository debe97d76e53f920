"""The PyTorch backend: the compiled operators on the CPU, the portable path on other devices."""

from tf_boxconv.backends.torch.box_conv import box_conv2d
from tf_boxconv.backends.torch.integral_image import integral_image
from tf_boxconv.backends.torch.separable_box_conv import separable_box_conv2d

# `torch.compile` records the operators in its graph.
SUPPORTS_JIT = True

__all__ = ["SUPPORTS_JIT", "box_conv2d", "integral_image", "separable_box_conv2d"]
