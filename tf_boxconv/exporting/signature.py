"""Checks that a model can be exported, and determines the shapes of its inputs."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras


def require_weights(model: Any, input_shape: Sequence[int | None] | None) -> None:
    """Raises unless `model` is a Keras model whose weights and input shapes are known."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a keras.Model. Received: model={model!r}")
    if not model.built:
        raise ValueError(
            f"`model` must be built before it is exported: call it once, or add a keras.Input. "
            f"Received: model '{model.name}', not built"
        )
    # The inputs of a subclassed model are known from its first call, or from `input_shape`.
    if hasattr(model, "inputs") or getattr(model, "_called", True):
        return
    unbuilt = [layer.name for layer in model._flatten_layers(include_self=False) if not layer.built]
    if unbuilt:
        raise ValueError(
            f"`model` must be called once before it is exported, to create its weights. Received: "
            f"model '{model.name}', never called, with layers that are not built: "
            f"{', '.join(unbuilt)}"
        )
    if input_shape is None:
        raise ValueError(
            "The shape of the input is unknown: pass `input_shape`, like (None, 256, 256, 3), or "
            f"call the model once. Received: model '{model.name}', never called"
        )


def require_flat_outputs(model: keras.Model) -> None:
    """Raises if the outputs are nested, which signatures do not allow.

    The outputs of a subclassed model are unknown and not checked.
    """
    outputs = getattr(model, "_outputs_struct", None)
    values = outputs.values() if isinstance(outputs, Mapping) else outputs
    if not isinstance(values, Iterable) or isinstance(values, keras.KerasTensor):
        return
    if not all(isinstance(value, keras.KerasTensor) for value in values):
        raise ValueError(
            "The outputs of `model` must be a tensor, or a list or dict of tensors that is not "
            f"nested. Received: model '{model.name}' with outputs {outputs}"
        )


def input_signature(model: keras.Model, input_shape: Sequence[int | None] | None):
    """Returns the input signature for the export; `None` if `input_shape` is `None`."""
    if input_shape is None:
        return None
    shape = _checked_shape(input_shape)
    inputs = getattr(model, "inputs", None) or []
    model_shape = tuple(inputs[0].shape) if len(inputs) == 1 else None
    # If the rank is unknown: box layers take inputs of rank 4, and so most likely does the model.
    rank = 4 if model_shape is None else len(model_shape)
    if len(inputs) <= 1 and len(shape) == rank - 1 and shape[0] is not None:
        raise ValueError(
            f"`input_shape` needs the batch axis: {(None, *shape)}. Received: input_shape={shape}"
        )
    fits = model_shape is None or (
        len(model_shape) == len(shape)
        and all(a is None or a == b for a, b in zip(model_shape[1:], shape[1:], strict=True))
    )
    if len(inputs) > 1 or not fits:
        raise ValueError(
            "`input_shape` must fit the model's input and set its undefined sizes; the model must "
            f"have one input. Received: input_shape={shape}, a model with inputs of shapes "
            f"{[tuple(i.shape) for i in inputs]}"
        )
    if model_shape is None:
        return [keras.InputSpec(shape=shape, dtype=model.input_dtype)]
    spec = keras.InputSpec(shape=shape, dtype=inputs[0].dtype, name=inputs[0].name)
    # A functional model may take its one input in a list or a dict. A sequential model does not,
    # and has no `input` unless it was called on a symbolic tensor.
    structure = inputs[0] if isinstance(model, keras.Sequential) else model.input
    return [keras.tree.map_structure(lambda _: spec, structure)]


def _checked_shape(shape) -> tuple[int | None, ...]:
    def is_size(value):
        return value is None or (
            isinstance(value, numbers.Integral) and not isinstance(value, bool) and value > 0
        )

    not_a_sequence = isinstance(shape, (str, bytes, Mapping)) or not isinstance(shape, Iterable)
    if not_a_sequence or not all(map(is_size, shape)):
        raise ValueError(
            "`input_shape` must be a sequence of positive integers and None, the batch first, like "
            f"(None, 256, 256, 3). Received: input_shape={shape!r}"
        )
    return tuple(None if size is None else int(size) for size in shape)
