"""Box convolutions for Keras: filters of any size at the cost of a 3x3."""

from tf_boxconv import constraints, initializers, layers, visualize
from tf_boxconv.backends.library import build_info, library_path
from tf_boxconv.exporting import export
from tf_boxconv.ops.box_conv import box_conv2d
from tf_boxconv.ops.integral_image import integral_image
from tf_boxconv.ops.separable_box_conv import separable_box_conv2d
from tf_boxconv.version import __version__

__all__ = [
    "__version__",
    "box_conv2d",
    "build_info",
    "constraints",
    "export",
    "initializers",
    "integral_image",
    "layers",
    "library_path",
    "separable_box_conv2d",
    "visualize",
]
