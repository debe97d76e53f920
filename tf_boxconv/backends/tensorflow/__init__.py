"""TensorFlow: the compiled ops and their registered gradients."""

from tf_boxconv.backends.tensorflow.box_conv import box_conv2d
from tf_boxconv.backends.tensorflow.integral_image import integral_image

# The compiled ops have no XLA kernels: `jit_compile="auto"` must not choose XLA.
SUPPORTS_JIT = False

__all__ = ["SUPPORTS_JIT", "box_conv2d", "integral_image"]
