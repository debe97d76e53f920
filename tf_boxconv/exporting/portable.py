"""Calls a model on the portable path, with the boxes of its layers as constants.

The TensorFlow backend takes the portable path because `tf_boxconv.backends.exporters` finds this
module on the call stack. With constant boxes and a known size of the planes, the traced graph
contains the coverage matrices instead of the operations that compute them.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from tf_boxconv.description import box_layers
from tf_boxconv.layers.base_box_conv import BaseBoxConv2D

# Part of the names of all operations of the layer `marked`.
MARK = "tf_boxconv_marked"


def call(model: keras.Model, *args, marked: str | None = None, **kwargs):
    """Returns `model(*args, **kwargs)` without compiled operators; call it in a `tf.function`.

    Args:
        model: The model.
        *args: Arguments of the model.
        marked: The name of a layer whose operations get names that contain `MARK`, or None.
        **kwargs: Arguments of the model.
    """
    with contextlib.ExitStack() as stack:
        for layer in box_layers(model):
            boxes = functools.partial(np.asarray, _current_boxes(layer))
            stack.enter_context(_replaced(layer, "_boxes_for_call", boxes))
            # With "portable", a layer computes the matrices itself.
            stack.enter_context(_replaced(layer, "implementation", "native"))
        for layer in model._flatten_layers(include_self=False):
            if layer.name == marked:
                stack.enter_context(_replaced(layer, "call", _in_marked_scope(layer.call)))
        return model(*args, **kwargs)


@contextlib.contextmanager
def _replaced(layer: keras.Layer, name: str, value) -> Iterator[None]:
    """Replaces an attribute of a layer, or one of its class, in the `with` block."""
    own = name in vars(layer)
    before = getattr(layer, name, None)
    setattr(layer, name, value)
    try:
        yield
    finally:
        if own:
            setattr(layer, name, before)
        else:
            delattr(layer, name)


def _in_marked_scope(call: Callable) -> Callable:
    @functools.wraps(call)
    def marked(*args, **kwargs):
        with tf.name_scope(MARK):
            return call(*args, **kwargs)

    return marked


def _current_boxes(layer: BaseBoxConv2D) -> np.ndarray:
    with tf.init_scope():  # Leaves the graph that is being traced.
        return np.array(layer.boxes)
