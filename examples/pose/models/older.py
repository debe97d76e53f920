"""Converts networks and training states from before `Context.filter_and_mix`.

In earlier blocks, a 1x1 convolution `X_mix` mixed the concatenated responses of the layers `X_near`
and `X_far`. Now both layers mix their own responses, and the block adds the results. The kernel of
`X_mix` is split by rows, and the other weights stay as they are:

    earlier layers and weights             layers and weights now
    X_near (DepthwiseConv2D)    kernel     X_near (SeparableConv2D)   depthwise_kernel
                                                                      pointwise_kernel: first rows
    X_far (DepthwiseBoxConv2D)  boxes      X_far (BoxConv2D)          boxes
    X_mix (Conv2D)              kernel                                kernel: last rows

The converted network computes the same up to rounding. It is faster, because `BoxConv2D` does not
store the responses of boxes.
"""

import collections
import dataclasses
import re
from collections.abc import Iterable, Mapping

import keras
import numpy as np
from keras import layers

from examples.pose.models.blocks import with_mixing
from tf_boxconv.layers import BoxConv2D, DepthwiseBoxConv2D


@dataclasses.dataclass(frozen=True)
class _Source:
    """The place where a weight was stored: the whole weight at `path`, or some of its rows.

    Attributes:
        path: Path of the earlier weight.
        start: First row, on the second last axis. A row holds the weights of one response.
        stop: The row after the last one. None: to the last row.
        ndim: Rank of the present weight. Leading axes of length 1 are dropped to reach it.
    """

    path: str
    start: int = 0
    stop: int | None = None
    ndim: int = 4

    @property
    def is_mix(self) -> bool:
        """Whether the earlier weight is the kernel of a 1x1 convolution."""
        return self.path.endswith("_mix/kernel")

    def value(self, earlier: np.ndarray) -> np.ndarray:
        """The present weight's value, given that of the earlier weight."""
        value = np.asarray(earlier)[..., self.start : self.stop, :]
        return value.reshape(value.shape[-self.ndim :])


def convert_model(model: keras.Model) -> keras.Model:
    """Converts a functional model, with its weights.

    Blocks whose layers cannot be replaced stay as they are: those with a bias, an activation or a
    frozen layer before the 1x1 convolution.

    Returns:
        A new model, or `model` itself if there is nothing to convert.
    """
    filters = {name: model.get_layer(f"{name}_mix").filters for name in _earlier_blocks(model)}
    if not filters:
        return model

    def clone(layer):
        block, _, part = layer.name.rpartition("_")
        if block in filters and part in ("near", "far"):
            return with_mixing(layer, filters[block])
        if block in filters and part == "both":
            return layers.Add(name=layer.name, dtype=layer.dtype_policy)
        return type(layer).from_config(layer.get_config())

    def call(layer, *args, **kwargs):
        block, _, part = layer.name.rpartition("_")
        # The layers before it have mixed the responses.
        return args[0] if block in filters and part == "mix" else layer(*args, **kwargs)

    converted = keras.models.clone_model(model, clone_function=clone, call_function=call)
    sources = _sources(converted)
    earlier = {v.path: keras.ops.convert_to_numpy(v.value) for v in model.variables}
    for variable in converted.variables:
        source = sources.get(variable.path)
        variable.assign(source.value(earlier[source.path]) if source else earlier[variable.path])
    return converted


def convert_state(
    state: Mapping[str, np.ndarray], model: keras.Model, names: Iterable[str]
) -> Mapping[str, np.ndarray]:
    """Converts a state of `examples.pose.training.trainer.Trainer`.

    Args:
        state: Arrays by name: `weight PATH`, and `optimizer NUMBER PATH_SLOT` with underscores for
            the slashes of the path.
        model: The network that is trained now.
        names: The names of its state, in order.

    Returns:
        The converted state, or `state` itself if there is nothing to convert. Arrays that do not
        belong to this network keep their names.
    """
    sources = _sources(model)
    if not any(f"weight {source.path}" in state for source in sources.values() if source.is_mix):
        return state
    earlier = _by_plain_name(state)
    converted, used = {}, set()
    for (plain, occurrence), name in _by_plain_name(names).items():
        earlier_plain, source = _earlier_name(plain, sources)
        found = earlier.get((earlier_plain, occurrence))
        if found is not None:
            converted[name] = source.value(state[found]) if source else state[found]
            used.add(found)
    return converted | {name: value for name, value in state.items() if name not in used}


def _earlier_blocks(model: keras.Model) -> list[str]:
    """The names of the blocks to convert."""
    named = {layer.name: layer for layer in model.layers}
    blocks = [name.removesuffix("_mix") for name in named if name.endswith("_mix")]
    return [
        block
        for block in blocks
        if _only_mixes(named[f"{block}_mix"])
        and isinstance(named.get(f"{block}_both"), layers.Concatenate)
        and all(_only_filters(named.get(f"{block}_{part}")) for part in ("near", "far"))
    ]


def _only_mixes(layer: keras.Layer) -> bool:
    """Whether a layer is a 1x1 convolution without bias and activation."""
    return (
        isinstance(layer, layers.Conv2D)
        and layer.kernel_size == (1, 1)
        and layer.activation in (None, keras.activations.linear)
        and not layer.use_bias
    )


def _only_filters(layer: keras.Layer | None) -> bool:
    """Whether `with_mixing` may replace a layer and the 1x1 convolution behind it."""
    return (
        isinstance(layer, layers.DepthwiseConv2D | DepthwiseBoxConv2D)
        and layer.activation in (None, keras.activations.linear)
        and layer.activity_regularizer is None
        and not layer.use_bias
        and layer.trainable
    )


def _sources(model: keras.Model) -> dict[str, _Source]:
    """Maps the path of each moved weight of a converted block to its earlier place."""
    sources = {}
    named = {layer.name: layer for layer in model.layers}
    for name in named:
        block = name.removesuffix("_near")
        pair = [named.get(f"{block}_{part}") for part in ("near", "far")]
        if not all(isinstance(layer, layers.SeparableConv2D | BoxConv2D) for layer in pair):
            continue
        start = 0
        for layer in pair:
            weights = layer.kernel if isinstance(layer, BoxConv2D) else layer.pointwise_kernel
            stop = start + weights.shape[-2]
            path = f"{block}_mix/kernel"
            sources[weights.path] = _Source(path, start, stop, len(weights.shape))
            if isinstance(layer, layers.SeparableConv2D):
                sources[layer.depthwise_kernel.path] = _Source(f"{layer.name}/kernel")
            start = stop
    return sources


def _by_plain_name(names: Iterable[str]) -> dict[tuple[str, int], str]:
    """The names by their text without the number, which depends on the order of all weights.

    A text may occur more than once, so it is paired with the number of earlier occurrences.
    """
    found, occurrences = {}, collections.Counter()
    for name in names:
        plain = re.sub(r"^optimizer \d+ ", "optimizer ", name)
        found[plain, occurrences[plain]] = name
        occurrences[plain] += 1
    return found


def _earlier_name(plain: str, sources: Mapping[str, _Source]) -> tuple[str, _Source | None]:
    """The earlier name of an array, without its number, and how to convert the array."""
    for path, source in sources.items():
        if plain == f"weight {path}":
            return f"weight {source.path}", source
        flat = f"optimizer {path.replace('/', '_')}_"
        if plain.startswith(flat):
            slot = plain.removeprefix(flat)
            return f"optimizer {source.path.replace('/', '_')}_{slot}", source
    return plain, None
