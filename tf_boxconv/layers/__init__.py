"""Keras layers with learnable boxes."""

from tf_boxconv.layers.box_bottleneck import BoxBottleneck
from tf_boxconv.layers.box_conv2d import BoxConv2D
from tf_boxconv.layers.depthwise_box_conv2d import DepthwiseBoxConv2D

__all__ = ["BoxBottleneck", "BoxConv2D", "DepthwiseBoxConv2D"]
