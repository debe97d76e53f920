"""What the compiled operators of TensorFlow and XLA call the options of the public ones."""

from __future__ import annotations

_LAYOUTS = {"channels_last": "NHWC", "channels_first": "NCHW"}
_DATA_FORMATS = {layout: data_format for data_format, layout in _LAYOUTS.items()}


def layout_of(data_format: str) -> str:
    """The attribute `data_format` for a Keras data format."""
    return _LAYOUTS[data_format]


def data_format_of(layout: str) -> str:
    """The other way."""
    return _DATA_FORMATS[layout]


def attribute_of(normalization: str | None) -> str:
    """The attribute `normalization`: text for None too."""
    return normalization or "none"


def normalization_of(attribute: str) -> str | None:
    """The other way."""
    return None if attribute == "none" else attribute
