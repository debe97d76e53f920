"""The TensorFlow backend: custom ops and their gradients."""

from tf_boxconv.backends.tensorflow.box_conv import box_conv2d
from tf_boxconv.backends.tensorflow.integral_image import integral_image
from tf_boxconv.backends.tensorflow.library import has_xla
from tf_boxconv.backends.tensorflow.separable_box_conv import separable_box_conv2d

# Without the XLA library, `jit_compile="auto"` must not choose XLA.
SUPPORTS_JIT = has_xla

__all__ = ["SUPPORTS_JIT", "box_conv2d", "integral_image", "separable_box_conv2d"]
