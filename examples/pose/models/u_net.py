"""The pose network: with box convolutions, or with the depthwise convolutions they stand against.

An encoder-decoder. The stem halves the resolution; each further level of the encoder halves it
again, with more channels and several blocks. The decoder returns level by level, adding what the
encoder had there, up to half the resolution of the image.

A block looks at its input twice, through a small depthwise kernel and through a wide filter for
context; a 1x1 convolution mixes the two, and the result is added to the input. The wide filter is
a box in one kind of network and a large depthwise kernel in the other. Nothing else differs.
"""

import keras
from keras import layers

from tf_boxconv.layers import DepthwiseBoxConv2D

KINDS = ("box", "depthwise")

# From the level at half the image's resolution down to that at a sixteenth.
CHANNELS = (1, 2, 4, 6)  # In multiples of `width`.
ENCODER_BLOCKS = (0, 2, 3, 3)
DECODER_BLOCKS = (1, 1, 1)


def pose_net(
    kind: str = "box",
    num_joints: int = 14,
    image_size: int = 96,
    width: int = 32,
    kernel_size: int = 7,
) -> keras.Model:
    """Builds a fully convolutional network from images to heatmaps.

    Args:
        kind: `"box"`: a `DepthwiseBoxConv2D` with one box a channel gathers the context in every
            block. `"depthwise"`: a `DepthwiseConv2D` in its place.
        num_joints: Number of heatmaps.
        image_size: Side of the images in pixels, a multiple of 16.
        width: Channels at half the image's resolution; deeper levels have multiples of it.
        kernel_size: Side of the wide depthwise kernels, in pixels of their level. The kind
            `"box"` does not use it.

    Returns:
        A model from images `[N, image_size, image_size, 3]`, values 0 to 255, to float32 heatmap
        logits `[N, image_size/2, image_size/2, num_joints]`.

    Raises:
        ValueError: An argument is out of its range.
    """
    if kind not in KINDS:
        raise ValueError(f"`kind` must be one of {KINDS}, got {kind!r}.")
    coarsest = 2 ** len(CHANNELS)
    if image_size < coarsest or image_size % coarsest:
        raise ValueError(f"`image_size` must be a multiple of {coarsest}, got {image_size}.")

    image = keras.Input((image_size, image_size, 3), name="image")
    x = layers.Rescaling(1 / 64, offset=-127.5 / 64, name="normalise")(image)
    encoded = []
    for level, (multiple, blocks) in enumerate(zip(CHANNELS, ENCODER_BLOCKS, strict=True)):
        name = f"encoder{level}"
        x = layers.Conv2D(
            multiple * width,
            kernel_size=2 if level else 3,
            strides=2,
            padding="same",
            use_bias=False,
            name=f"{name}_down",
        )(x)
        x = layers.ReLU(name=f"{name}_relu")(_norm(x, name))
        for i in range(blocks):
            x = _block(x, kind, kernel_size, f"{name}_block{i}")
        encoded.append(x)
    for level in reversed(range(len(DECODER_BLOCKS))):
        name = f"decoder{level}"
        # Fewer channels first, then larger: the same result at a quarter of the cost.
        x = layers.Conv2D(encoded[level].shape[-1], 1, use_bias=False, name=f"{name}_narrow")(x)
        x = layers.UpSampling2D(2, interpolation="bilinear", name=f"{name}_up")(_norm(x, name))
        x = layers.Add(name=f"{name}_add")([x, encoded[level]])
        x = layers.ReLU(name=f"{name}_relu")(x)
        for i in range(DECODER_BLOCKS[level]):
            x = _block(x, kind, kernel_size, f"{name}_block{i}")
    logits = layers.Conv2D(num_joints, 1, dtype="float32", name="heatmaps")(x)
    return keras.Model(image, logits, name=f"pose_net_{kind}")


def _block(x, kind: str, kernel_size: int, name: str):
    """A residual block: a small and a wide filter for each channel, mixed."""
    near = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"{name}_near")(x)
    if kind == "box":
        far = DepthwiseBoxConv2D(name=f"{name}_far")(x)
    else:
        far = layers.DepthwiseConv2D(
            kernel_size, padding="same", use_bias=False, name=f"{name}_far"
        )(x)
    y = layers.Concatenate(name=f"{name}_both")([near, far])
    y = layers.Conv2D(x.shape[-1], 1, use_bias=False, name=f"{name}_mix")(y)
    y = layers.Add(name=f"{name}_add")([x, _norm(y, name)])
    return layers.ReLU(name=f"{name}_relu")(y)


def _norm(x, name: str):
    # The default momentum would average over more steps than a short training has.
    return layers.BatchNormalization(momentum=0.95, name=f"{name}_norm")(x)
