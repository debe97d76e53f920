"""What the pose networks are made of: filters of four kinds, blocks around them, stem and heads.

A network is built of one *context*, the kind of filter that gathers what is around a pixel:

* `"box"`: boxes, with a 3x3 depthwise kernel beside them for detail
* `"pure_box"`: boxes, with two small boxes beside them in the kernel's place; enlarging is the work
  of boxes as well. XLA, which compiles for JAX and under `jit_compile=True`, is slow at depthwise
  convolutions and bilinear interpolation on processors, and has none to compile here
* `"depthwise"`: a large depthwise kernel in the boxes' place
* `"dilated"`: a 3x3 depthwise kernel whose taps are spread over the large kernel's size
* `"dense"`: a plain convolution, every channel to every channel, in place of both

Nothing else differs between networks that differ in their context only, so that these can be
compared. All of it is Keras layers, which run on every backend.
"""

import contextlib
import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import keras
from keras import layers

from examples.pose.models import BOX_CONTEXTS, CONTEXTS
from tf_boxconv.layers import DepthwiseBoxConv2D

# The small boxes of "pure_box", in pixels: how far from the pixel their edges may begin, and go.
NEAR_BOXES, NEAR_SIZE = 2, 5
# Of `DepthwiseBoxConv2D`: what the network needs to be as it is.
RESERVED_BOX_OPTIONS = ("depth_multiplier", "name", "strides", "data_format")


@dataclasses.dataclass(frozen=True)
class Context:
    """How the blocks of a network look around.

    Attributes:
        kind: One of `CONTEXTS`.
        boxes: Boxes a channel. The other kinds have one filter a channel and ignore it.
        kernel_size: Side, in pixels of the plane it works on, of the wide filters other than
            boxes; odd. Boxes ignore it.
        box_options: Arguments of `DepthwiseBoxConv2D` that differ from its defaults, in the wide
            filters; not those of `RESERVED_BOX_OPTIONS`. The other kinds ignore them.

    Raises:
        ValueError: An attribute is out of its range. `filter` raises it for values of `box_options`
            that the layer refuses.
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
        """Filters `x` `[N, H, W, C]`: `[N, H, W, F]`, with F at least C.

        For `"dense"` F is C. The other kinds give a small filter's C channels, then the wide
        filters' C, or C for each box.
        """
        if self.kind == "dense":
            return layers.Conv2D(
                x.shape[-1], self.kernel_size, padding="same", use_bias=False, name=f"{name}_far"
            )(x)
        near = self._near(f"{name}_near")(x)
        with self._refused_box_options_named():
            far = self._wide(f"{name}_far")(x)
        return layers.Concatenate(name=f"{name}_both")([near, far])

    def enlarge(self, x, times: int, name: str):
        """`x` itself where `times` is 1, else `x` enlarged bilinearly."""
        if times == 1:
            return x
        method = "nearest" if self.kind == "pure_box" else "bilinear"
        x = layers.UpSampling2D(times, interpolation=method, dtype=x.dtype, name=name)(x)
        if self.kind != "pure_box":
            return x
        # The mean over a box of the size of one pixel before: exactly what interpolates bilinearly.
        half = times / 2
        boxes = keras.initializers.Constant([-half, -half, half, half])
        return DepthwiseBoxConv2D(
            normalization="valid",
            boxes_initializer=boxes,
            trainable=False,
            dtype=x.dtype,
            name=f"{name}_smooth",
        )(x)

    @contextlib.contextmanager
    def _refused_box_options_named(self):
        try:
            yield
        # Keras and NumPy meet wrong JSON values with all kinds of error.
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


def _reason(error: Exception) -> str:
    """One line of an error, without the heading and the colours of Keras's errors in `call`."""
    text = re.sub(r"\x1b\[\d*m", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("Exception encountered")]
    return lines[0] if lines else type(error).__name__


def require_positive(**arguments: int) -> None:
    """Raises a `ValueError` that names the first argument that is no positive integer."""
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"`{name}` must be a positive integer, got {value!r}.")


def require_multiple(image_size: int, of: int) -> None:
    """Raises a `ValueError` where a network could not halve the image as often as it has to."""
    if image_size < of or image_size % of:
        raise ValueError(f"`image_size` must be a multiple of {of}, got {image_size}.")


def image_input(image_size: int) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The input, values 0 to 255, and what it is after scaling to some -2 to 2."""
    image = keras.Input((image_size, image_size, 3), name="image")
    return image, layers.Rescaling(1 / 64, offset=-127.5 / 64, name="normalise")(image)


def norm(x, name: str):
    """Batch normalisation."""
    # The default momentum would average over more steps than a short training has.
    return layers.BatchNormalization(momentum=0.95, name=f"{name}_norm")(x)


def convolution(x, filters: int, name: str, kernel_size: int = 1, strides: int = 1):
    """A convolution, normalised, with ReLU."""
    x = layers.Conv2D(
        filters, kernel_size, strides=strides, padding="same", use_bias=False, name=name
    )(x)
    return layers.ReLU(name=f"{name}_relu")(norm(x, name))


def mixing_block(x, context: Context, name: str):
    """A residual block: filters on every channel, and a 1x1 convolution that mixes them."""
    y = context.filter(x, name)
    y = layers.Conv2D(x.shape[-1], 1, use_bias=False, name=f"{name}_mix")(y)
    y = layers.Add(name=f"{name}_add")([x, norm(y, name)])
    return layers.ReLU(name=f"{name}_relu")(y)


def bottleneck_block(x, context: Context, filters: int, name: str):
    """A residual block whose filters work on half of its channels.

    1x1 convolution to `filters / 2` channels, filters, 1x1 convolution to `filters`; where `x` has
    another number of channels, a 1x1 convolution brings it to `filters` on its way around.
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
    """Logits of one heatmap a joint, float32 under every policy."""
    return layers.Conv2D(num_joints, 1, dtype="float32", name=name)(x)
