"""The pose networks, all built by `build`.

>>> model = build("u_net", context="box", width=32)

Every network maps images `[N, image_size, image_size, 3]`, values 0 to 255, to float32 heatmap
logits `[N, image_size/2, image_size/2, num_joints]`. Some networks have several such outputs, the
most refined last. All outputs are trained; `inference_model` keeps only the last.

This file imports Keras inside functions only, because the commands list the names here before they
import anything heavy (see `examples.pose.cli`).
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

NAMES = ("light", "u_net", "full_resolution", "hourglass")
DEFAULT = "u_net"
CONTEXTS = ("box", "pure_box", "depthwise", "dilated", "dense")
BOX_CONTEXTS = ("box", "pure_box")
CONTEXT_ARGUMENTS = ("boxes", "kernel_size", "box_options")
DECODINGS = ("peak", "quarter", "dark")


def has_boxes(context: str | None) -> bool:
    """Whether networks with this kind of filter have boxes. None stands for the default, boxes."""
    return context is None or context in BOX_CONTEXTS


def _network(name: str) -> Callable[..., keras.Model]:
    """The function that builds a network; it has the name of its module.

    Raises:
        ValueError: There is no such network.
    """
    if name not in NAMES:
        raise ValueError(f"`name` must be one of {NAMES}, got {name!r}.")
    return getattr(importlib.import_module(f"{__name__}.{name}"), name)


def arguments_of(name: str) -> dict[str, Any]:
    """The arguments that `build` takes for network `name`, with their defaults.

    Raises:
        ValueError: There is no such network.
    """
    from examples.pose.models.blocks import Context

    own = {
        parameter.name: parameter.default
        for parameter in inspect.signature(_network(name)).parameters.values()
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
        name: One of `NAMES`.
        **arguments: Any of `arguments_of(name)`; None stands for the network's own default.
            `context` is one of `CONTEXTS`, `boxes`, `kernel_size` and `box_options` are those of
            `examples.pose.models.blocks.Context`; the network's function describes the rest.

    Returns:
        A model from images to heatmap logits, with one output or several.

    Raises:
        ValueError: There is no such network, it does not take an argument, or the value of an
            argument is out of range.
    """
    from examples.pose.models.blocks import Context

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
    return _network(name)(context, **given)


def inference_model(model: keras.Model) -> keras.Model:
    """The same network with its last output only. The weights are shared with `model`."""
    import keras

    return keras.Model(model.inputs[0], model.outputs[-1], name=model.name)
