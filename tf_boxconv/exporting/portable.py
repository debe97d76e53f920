"""Calls a model on the portable path, with the boxes of its layers as constants.

The TensorFlow backend takes the portable path because `tf_boxconv.backends.exporters` finds this
module on the call stack. With constant boxes and a known size of the planes, the traced graph
contains the coverage matrices instead of the operations that compute them.
"""

from __future__ import annotations

import functools

import keras
import numpy as np
import tensorflow as tf

from tf_boxconv.description import box_layers
from tf_boxconv.layers.base_box_conv import BaseBoxConv2D


def call(model: keras.Model, *args, **kwargs):
    """Returns `model(*args, **kwargs)` without compiled operators; call it in a `tf.function`."""
    layers = list(box_layers(model))
    for layer in layers:
        layer._boxes_for_call = functools.partial(np.asarray, _current_boxes(layer))
    try:
        return model(*args, **kwargs)
    finally:
        for layer in layers:
            del layer._boxes_for_call


def _current_boxes(layer: BaseBoxConv2D) -> np.ndarray:
    with tf.init_scope():  # Leaves the graph that is being traced.
        return np.array(layer.boxes)
