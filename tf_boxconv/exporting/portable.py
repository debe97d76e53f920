"""Calls a model with its box convolutions in portable form and its boxes as constants.

TensorFlow's backend finds this module on the call stack while the model is traced, and runs every
box convolution in portable form (`tf_boxconv.backends.exporters`). The layers' boxes are fixed
here: where the size of the planes is known too, the graph then holds the finished matrices.
"""

from __future__ import annotations

import functools

import keras
import numpy as np
import tensorflow as tf

from tf_boxconv.layers.base_box_conv import BaseBoxConv2D


def call(model: keras.Model, *args, **kwargs):
    """Returns `model(*args, **kwargs)` without the compiled operators, for inference.

    Call it while a `tf.function` is traced.
    """
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, BaseBoxConv2D)]
    for layer in layers:
        layer._convolve_boxes = functools.partial(
            layer._convolve_boxes, boxes=_present_boxes(layer)
        )
    try:
        return model(*args, **kwargs)
    finally:
        for layer in layers:
            del layer._convolve_boxes


def _present_boxes(layer: BaseBoxConv2D) -> np.ndarray:
    with tf.init_scope():
        return np.array(layer.boxes)
