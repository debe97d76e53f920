"""Building blocks of the pose networks: spatial filters, residual blocks, stem and head.

The *context* of a network is the kind of filter that gathers information around a pixel:

* `"box"`: boxes, beside a 3x3 depthwise kernel for detail
* `"pure_box"`: boxes, beside two small boxes instead of the 3x3 kernel; boxes also do the
  upsampling. Use it with XLA (JAX, or `jit_compile=True`) on CPUs, where XLA is slow at depthwise
  convolutions and bilinear interpolation, because this context has neither
* `"depthwise"`: a large depthwise kernel, beside the 3x3 kernel
* `"dilated"`: a 3x3 depthwise kernel dilated to the size of the large one, beside the 3x3 kernel
* `"dense"`: a plain convolution over all channels, alone

Networks that differ in their context are otherwise the same, so that contexts can be compared. All
blocks consist of Keras layers and run on every backend.
"""

import contextlib
import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

import keras
from keras import layers

from examples.pose.models import BOX_CONTEXTS, CONTEXTS
from tf_boxconv.layers import BoxConv2D, DepthwiseBoxConv2D

# The small boxes of "pure_box": their number per channel, and their `max_size` in pixels.
NEAR_BOXES, NEAR_SIZE = 2, 5
# End of the names of the box layers that upsample. Their boxes are constant.
UPSAMPLING_SUFFIX = "_smooth"
# Arguments of `DepthwiseBoxConv2D` that the network sets itself.
RESERVED_BOX_OPTIONS = ("depth_multiplier", "name", "strides", "data_format")
# Arguments of `DepthwiseBoxConv2D` that `BoxConv2D` has too, and that concern the boxes alone.
SHARED_BOX_OPTIONS = (
    "normalization",
    "max_size",
    "boxes_initializer",
    "boxes_regularizer",
    "boxes_constraint",
    "implementation",
)


@dataclasses.dataclass(frozen=True)
class Context:
    """The spatial filters of a network's blocks.

    Attributes:
        kind: One of `CONTEXTS`.
        boxes: Wide boxes per channel. Contexts without boxes ignore it.
        kernel_size: Side of the wide kernels in pixels of the plane they filter; odd, at least 3.
            Contexts with boxes ignore it.
        box_options: Arguments of the `DepthwiseBoxConv2D` with the wide boxes, other than those in
            `RESERVED_BOX_OPTIONS`. Contexts without boxes ignore them.

    Raises:
        ValueError: An attribute is out of range. If `box_options` are no valid arguments of the
            layer, `filter` and `filter_and_mix` raise the error.
    """

    kind: str = "box"
    boxes: int = 1
    kernel_size: int = 7
    box_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.kind not in CONTEXTS:
            raise ValueError(f"`context` must be one of {CONTEXTS}, got {self.kind!r}.")
        require_positive(boxes=self.boxes)
        if self.kernel_size < 3 or self.kernel_size % 2 == 0:
            raise ValueError(
                f"`kernel_size` must be an odd number from 3 up, got {self.kernel_size}."
            )
        reserved = [name for name in RESERVED_BOX_OPTIONS if name in self.box_options]
        if reserved:
            raise ValueError(f"`box_options` must not set {reserved[0]!r}; the network does.")

    def filter(self, x, name: str):
        """Filters `x` of shape `[N, H, W, C]`. Returns `[N, H, W, F]`, with F at least C.

        For `"dense"`, F is C. Other contexts concatenate the outputs of the near filters (C
        channels, or 2*C for `"pure_box"`) and of the wide filters (C channels, or C times `boxes`).
        """
        if self.kind == "dense":
            return layers.Conv2D(
                x.shape[-1], self.kernel_size, padding="same", use_bias=False, name=f"{name}_far"
            )(x)
        near = self._near(f"{name}_near")(x)
        with self._explain_box_option_errors():
            far = self._wide(f"{name}_far")(x)
        return layers.Concatenate(name=f"{name}_both")([near, far])

    def filter_and_mix(self, x, filters: int, name: str):
        """Filters `x` of shape `[N, H, W, C]` and mixes the responses: `[N, H, W, filters]`.

        The result is a 1x1 convolution of what `filter` returns. For two kinds of filters, that is
        the sum of two layers, each of which filters and mixes: `SeparableConv2D` for kernels and
        `BoxConv2D` for boxes.

            mix([near(x), far(x)]) = mix_near(near(x)) + mix_far(far(x))

        `BoxConv2D` neither stores the responses of the boxes nor keeps them for the gradient.
        `"dense"` has one kind of filter, followed by a 1x1 convolution. So have boxes with options
        that `BoxConv2D` does not share, such as `activation` or `trainable`.
        """
        separate = self.kind in BOX_CONTEXTS and set(self.box_options) - set(SHARED_BOX_OPTIONS)
        if self.kind == "dense" or separate:
            y = self.filter(x, name)
            return layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_mix")(y)
        with self._explain_box_option_errors():
            both = self._near(f"{name}_near"), self._wide(f"{name}_far")
            responses = sum(layer.depth_multiplier for layer in both) * x.shape[-1]
            # The limit of `GlorotUniform` for one 1x1 convolution of all responses.
            limit = math.sqrt(6 / (responses + filters))
            mixed = [
                with_mixing(layer, filters, keras.initializers.RandomUniform(-limit, limit))(x)
                for layer in both
            ]
        return layers.Add(name=f"{name}_both")(mixed)

    def enlarge(self, x, times: int, name: str):
        """Upsamples `x` bilinearly by the factor `times`. Returns `x` itself if that is 1."""
        if times == 1:
            return x
        method = "nearest" if self.kind == "pure_box" else "bilinear"
        x = layers.UpSampling2D(times, interpolation=method, dtype=x.dtype, name=name)(x)
        if self.kind != "pure_box":
            return x
        # Averaging over a box as large as an enlarged pixel is exactly bilinear interpolation.
        half = times / 2
        boxes = keras.initializers.Constant([-half, -half, half, half])
        return DepthwiseBoxConv2D(
            normalization="valid",
            boxes_initializer=boxes,
            trainable=False,
            dtype=x.dtype,
            name=f"{name}{UPSAMPLING_SUFFIX}",
        )(x)

    @contextlib.contextmanager
    def _explain_box_option_errors(self):
        """Turns exceptions of the box layer into a `ValueError` that names `box_options`."""
        try:
            yield
        # Keras and NumPy raise many kinds of error for wrong JSON values.
        except Exception as error:
            if not self.box_options or isinstance(error, MemoryError):
                raise
            raise ValueError(
                f"`box_options` must be arguments of DepthwiseBoxConv2D, got {self.box_options}: "
                f"{_reason(error)}"
            ) from error

    def _near(self, name: str) -> keras.Layer:
        if self.kind == "pure_box":
            return DepthwiseBoxConv2D(NEAR_BOXES, max_size=NEAR_SIZE, name=name)
        return layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=name)

    def _wide(self, name: str) -> keras.Layer:
        if self.kind in BOX_CONTEXTS:
            return DepthwiseBoxConv2D(self.boxes, name=name, **self.box_options)
        common = {"padding": "same", "use_bias": False, "name": name}
        if self.kind == "depthwise":
            return layers.DepthwiseConv2D(self.kernel_size, **common)
        return layers.DepthwiseConv2D(3, dilation_rate=self.kernel_size // 2, **common)


def with_mixing(layer: keras.Layer, filters: int, initializer="glorot_uniform") -> keras.Layer:
    """Returns a layer that filters as `layer` does, then mixes the responses without a bias.

    Args:
        layer: A `DepthwiseConv2D` or `DepthwiseBoxConv2D`, which need not be built.
        filters: Number of output channels.
        initializer: Initializer of the mixing weights.

    Returns:
        A `SeparableConv2D` or `BoxConv2D` of the same name.
    """
    config = {**layer.get_config(), "filters": filters}
    if isinstance(layer, DepthwiseBoxConv2D):
        return BoxConv2D.from_config({**config, "kernel_initializer": initializer})
    return layers.SeparableConv2D.from_config({**config, "pointwise_initializer": initializer})


def _reason(error: Exception) -> str:
    """Returns the first line of an error, without Keras's heading and colour codes."""
    text = re.sub(r"\x1b\[\d*m", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("Exception encountered")]
    return lines[0] if lines else type(error).__name__


def require_positive(**arguments: int) -> None:
    """Raises a `ValueError` that names the first argument that is not a positive integer."""
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"`{name}` must be a positive integer, got {value!r}.")


def require_multiple(image_size: int, of: int) -> None:
    """Raises a `ValueError` unless `image_size` is a positive multiple of `of`."""
    if image_size < of or image_size % of:
        raise ValueError(f"`image_size` must be a multiple of {of}, got {image_size}.")


def image_input(image_size: int) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Makes the input, with values 0 to 255, and a layer that scales it to about -2 to 2."""
    image = keras.Input((image_size, image_size, 3), name="image")
    return image, layers.Rescaling(1 / 64, offset=-127.5 / 64, name="normalise")(image)


def norm(x, name: str):
    """Batch normalisation."""
    # The default momentum, 0.99, averages over too many steps for a short training.
    return layers.BatchNormalization(momentum=0.95, name=f"{name}_norm")(x)


def convolution(x, filters: int, name: str, kernel_size: int = 1, strides: int = 1):
    """Convolution, batch normalisation, ReLU."""
    x = layers.Conv2D(
        filters, kernel_size, strides=strides, padding="same", use_bias=False, name=name
    )(x)
    return layers.ReLU(name=f"{name}_relu")(norm(x, name))


def mixing_block(x, context: Context, name: str):
    """A residual block: the context's filters, then a 1x1 convolution that mixes channels."""
    y = context.filter_and_mix(x, x.shape[-1], name)
    y = layers.Add(name=f"{name}_add")([x, norm(y, name)])
    return layers.ReLU(name=f"{name}_relu")(y)


def bottleneck_block(x, context: Context, filters: int, name: str):
    """A residual block whose spatial filters work on half as many channels as it returns.

    A 1x1 convolution to `filters / 2` channels, the context's filters, a 1x1 convolution to
    `filters` channels. If `x` does not have `filters` channels, the shortcut has a 1x1 convolution
    too.
    """
    y = convolution(x, max(filters // 2, 1), f"{name}_reduce")
    y = context.filter(y, name)
    y = layers.ReLU(name=f"{name}_filters_relu")(norm(y, f"{name}_filters"))
    y = norm(layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_expand")(y), name)
    if x.shape[-1] != filters:
        x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_around")(x)
        x = norm(x, f"{name}_around")
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))


def heatmaps(x, num_joints: int, name: str):
    """The head: logits of one heatmap per joint, float32 under every dtype policy."""
    return layers.Conv2D(num_joints, 1, dtype="float32", name=name)(x)
