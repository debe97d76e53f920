"""The JAX backend: the compiled operators as FFI calls, with gradients, vmap and sharding."""

from tf_boxconv.backends.jax.box_conv import box_conv2d
from tf_boxconv.backends.jax.integral_image import integral_image
from tf_boxconv.backends.jax.separable_box_conv import separable_box_conv2d

SUPPORTS_JIT = True

__all__ = ["SUPPORTS_JIT", "box_conv2d", "integral_image", "separable_box_conv2d"]
