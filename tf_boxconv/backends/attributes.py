"""Converts Keras's data formats and normalizations to the attributes of the compiled operators."""

from __future__ import annotations

_LAYOUTS = {"channels_last": "NHWC", "channels_first": "NCHW"}
_DATA_FORMATS = {layout: data_format for data_format, layout in _LAYOUTS.items()}


def layout_of(data_format: str) -> str:
    """Returns `"NHWC"` for `"channels_last"` and `"NCHW"` for `"channels_first"`."""
    return _LAYOUTS[data_format]


def data_format_of(layout: str) -> str:
    """Returns `"channels_last"` for `"NHWC"` and `"channels_first"` for `"NCHW"`."""
    return _DATA_FORMATS[layout]


def normalization_attribute(normalization: str | None) -> str:
    """Returns `"none"` for None, and other normalizations unchanged."""
    return normalization or "none"


def normalization_of(attribute: str) -> str | None:
    """Returns None for `"none"`, and other attributes unchanged."""
    return None if attribute == "none" else attribute
