"""Pictures of what box layers have learned: boxes, kernels, receptive fields, their changes.

Arrays come from Keras operations and NumPy alone. Matplotlib and Pillow (`pip install matplotlib
pillow`) are imported where something is drawn, TensorFlow where a gradient is taken or TensorBoard
is written.
"""

from tf_boxconv.visualize.box_logger import BoxLogger
from tf_boxconv.visualize.drawing import draw_boxes, draw_histograms, draw_kernel
from tf_boxconv.visualize.kernels import (
    box_offsets,
    box_sizes,
    effective_kernel,
    effective_kernels,
)
from tf_boxconv.visualize.mixing_weights import mixing_weights
from tf_boxconv.visualize.receptive_field import draw_receptive_field, effective_receptive_field

__all__ = [
    "BoxLogger",
    "box_offsets",
    "box_sizes",
    "draw_boxes",
    "draw_histograms",
    "draw_kernel",
    "draw_receptive_field",
    "effective_kernel",
    "effective_kernels",
    "effective_receptive_field",
    "mixing_weights",
]
