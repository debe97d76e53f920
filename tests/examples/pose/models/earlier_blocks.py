"""Builds the pose networks as they were before `Context.filter_and_mix`."""

import contextlib
from collections.abc import Iterator
from unittest import mock

from keras import layers

from examples.pose.models.blocks import Context


def _filter_and_mix(context: Context, x, filters: int, name: str):
    """Mixes the concatenated responses of both filters by one 1x1 convolution."""
    y = context.filter(x, name)
    return layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_mix")(y)


@contextlib.contextmanager
def built() -> Iterator[None]:
    """Networks that are built in the `with` block have the earlier blocks."""
    with mock.patch.object(Context, "filter_and_mix", _filter_and_mix):
        yield
