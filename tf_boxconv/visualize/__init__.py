"""Functions that show what box layers have learned: boxes, kernels and receptive fields.

Functions that return arrays need NumPy and Keras only. Functions that draw need matplotlib, and
`BoxLogger` needs Pillow for animations and TensorFlow for TensorBoard. These are imported on use.
"""

from tf_boxconv.visualize.box_drawing import draw_boxes
from tf_boxconv.visualize.box_logger import BoxLogger
from tf_boxconv.visualize.drawing import draw_histograms, draw_kernel
from tf_boxconv.visualize.kernels import (
    box_offsets,
    box_sizes,
    effective_kernel,
    effective_kernels,
)
from tf_boxconv.visualize.layer_names import boxes_by_layer
from tf_boxconv.visualize.mixing_weights import mixing_weights
from tf_boxconv.visualize.receptive_field import draw_receptive_field, effective_receptive_field

__all__ = [
    "BoxLogger",
    "box_offsets",
    "box_sizes",
    "boxes_by_layer",
    "draw_boxes",
    "draw_histograms",
    "draw_kernel",
    "draw_receptive_field",
    "effective_kernel",
    "effective_kernels",
    "effective_receptive_field",
    "mixing_weights",
]
