"""The pose networks, all built by `build`.

>>> model = build("u_net", context="box", width=32)

Every network maps images `[N, image_size, image_size, 3]`, values 0 to 255, to float32 heatmap
logits `[N, image_size/2, image_size/2, num_joints]`. Some networks have several such outputs, the
most refined last. All outputs are trained; `inference_model` keeps only the last.
"""

import inspect
from collections.abc import Callable
from typing import Any

import keras

from examples.pose.models.blocks import CONTEXTS, Context
from examples.pose.models.full_resolution import full_resolution
from examples.pose.models.hourglass import hourglass
from examples.pose.models.light import light
from examples.pose.models.u_net import u_net

MODELS: dict[str, Callable[..., keras.Model]] = {
    "light": light,
    "u_net": u_net,
    "full_resolution": full_resolution,
    "hourglass": hourglass,
}
DEFAULT = "u_net"
CONTEXT_ARGUMENTS = ("boxes", "kernel_size", "box_options")

__all__ = ["CONTEXTS", "DEFAULT", "MODELS", "arguments_of", "build", "inference_model"]


def arguments_of(name: str) -> dict[str, Any]:
    """The arguments that `build` takes for network `name`, with their defaults.

    Raises:
        ValueError: There is no such network.
    """
    if name not in MODELS:
        raise ValueError(f"`name` must be one of {tuple(MODELS)}, got {name!r}.")
    own = {
        parameter.name: parameter.default
        for parameter in inspect.signature(MODELS[name]).parameters.values()
        if parameter.name != "context"
    }
    shared = Context()
    return {
        "context": shared.kind,
        **{argument: getattr(shared, argument) for argument in CONTEXT_ARGUMENTS},
        **own,
    }


def build(name: str = DEFAULT, **arguments: Any) -> keras.Model:
    """Builds a pose network.

    Args:
        name: One of `MODELS`.
        **arguments: Any of `arguments_of(name)`; None stands for the default. `context` is one of
            `CONTEXTS`. `boxes`, `kernel_size` and `box_options` are described in
            `examples.pose.models.blocks.Context`, all others in the function that `MODELS` names.

    Returns:
        A model from images to heatmap logits, with one output or several.

    Raises:
        ValueError: There is no such network, it does not take an argument, or the value of an
            argument is out of range.
    """
    known = arguments_of(name)
    given = {key: value for key, value in arguments.items() if value is not None}
    unknown = [key for key in given if key not in known]
    if unknown:
        raise ValueError(
            f"The model {name!r} takes no `{unknown[0]}`; it takes {', '.join(map(repr, known))}."
        )
    context = Context(
        given.pop("context", known["context"]),
        **{key: given.pop(key) for key in CONTEXT_ARGUMENTS if key in given},
    )
    return MODELS[name](context, **given)


def inference_model(model: keras.Model) -> keras.Model:
    """The same network with its last output only. The weights are shared with `model`."""
    return keras.Model(model.inputs[0], model.outputs[-1], name=model.name)
