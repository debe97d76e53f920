"""Errors for arguments of Keras's convolution layers that box convolution layers do not have."""

from __future__ import annotations

import inspect

# Advice for every argument of Conv2D, DepthwiseConv2D and SeparableConv2D that a box layer lacks.
_ADVICE = {
    "kernel_size": "leave it out, the sizes of boxes are learned",
    "padding": 'the output always has the size of padding="same", with zeros outside the image; '
    "leave it out (keras.layers.Cropping2D crops)",
    "dilation_rate": "leave it out, the sizes and positions of boxes are learned",
    "groups": "use DepthwiseBoxConv2D, which mixes no channels",
    "depthwise_initializer": "leave it out, boxes are edges in pixels and have `boxes_initializer`",
    "depthwise_regularizer": "leave it out, boxes are edges in pixels and have `boxes_regularizer`",
    "depthwise_constraint": "leave it out, boxes are edges in pixels and have `boxes_constraint`",
    "pointwise_initializer": "for the weights that mix channels, BoxConv2D has "
    "`kernel_initializer`",
    "pointwise_regularizer": "for the weights that mix channels, BoxConv2D has "
    "`kernel_regularizer`",
    "pointwise_constraint": "for the weights that mix channels, BoxConv2D has `kernel_constraint`",
    "kernel_initializer": "leave it out, boxes are edges in pixels and have `boxes_initializer`",
    "kernel_regularizer": "leave it out, boxes are edges in pixels and have `boxes_regularizer`",
    "kernel_constraint": "leave it out, boxes are edges in pixels and have `boxes_constraint`",
    "filters": "the input and `depth_multiplier` give the number of output channels; BoxConv2D has "
    "`filters`",
    "strides": "a residual block keeps the size of its input; BoxConv2D and DepthwiseBoxConv2D "
    "have `strides`",
    "use_bias": "leave it out, batch normalization adds a bias",
    "bias_initializer": "leave it out, batch normalization adds a bias",
    "bias_regularizer": "leave it out, batch normalization adds a bias",
    "bias_constraint": "leave it out, batch normalization adds a bias",
}


def refuse_arguments_of_convolutions(layer: type, arguments: dict) -> None:
    """Raises a `ValueError` with advice if `arguments` contains arguments of Keras's convolutions.

    Args:
        layer: The class of the layer.
        arguments: The keyword arguments that the layer does not have, by name.
    """
    found = [name for name in arguments if name in _ADVICE]
    if found:
        given = ", ".join(f"{name}={arguments[name]!r}" for name in found)
        advice = "; ".join(f"`{name}`: {_ADVICE[name]}" for name in found)
        first = next(iter(inspect.signature(layer).parameters), None)
        if first == "depth_multiplier":
            advice += f". The first argument is `{first}`, not a kernel size"
        raise ValueError(
            f"`{layer.__name__}` replaces a convolution but does not have all of its arguments. "
            f"{advice}. Received: {given}"
        )


def refuse_positional_arguments(layer: type, first: str, others: tuple) -> None:
    """Raises a `TypeError` if a call has positional arguments after the first one."""
    if not others:
        return
    given = ", ".join(map(repr, others))
    advice = "pass all others by name"
    if first == "filters":
        advice = (
            "leave out the kernel_size, because the sizes of boxes are learned, and pass all "
            "others by name, such as depth_multiplier=4 for four boxes per channel"
        )
    raise TypeError(
        f"`{layer.__name__}` takes one positional argument, `{first}`; {advice}. "
        f"Received after `{first}`: {given}"
    )
