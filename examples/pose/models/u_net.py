"""An encoder-decoder, which sees far by halving the resolution several times.

Each level of the encoder halves the resolution and has more channels than the level before. The
decoder upsamples level by level, adding the encoder's features of the same level, until it reaches
half the resolution of the image.
"""

import keras
from keras import layers

from examples.pose.models import blocks
from examples.pose.models.blocks import Context

# Channels of each level of the encoder, in multiples of the width.
MULTIPLES = (1, 2, 4, 6, 8)


def u_net(
    context: Context,
    num_joints: int = 14,
    image_size: int = 96,
    width: int = 32,
    depth: int = 3,
    levels: int = 4,
) -> keras.Model:
    """Builds an encoder-decoder.

    Args:
        context: The filters of the blocks.
        num_joints: Number of heatmaps.
        image_size: Side of the images in pixels, a multiple of `2**levels`.
        width: Channels of the first level; deeper levels have multiples of it.
        depth: Blocks on the third level of the encoder and on each deeper one. The second level
            has one block less, the first has none.
        levels: How often the encoder halves the resolution, 2 to 5.

    Returns:
        A model from images `[N, image_size, image_size, 3]` to float32 heatmap logits
        `[N, image_size/2, image_size/2, num_joints]`.
    """
    blocks.require_positive(num_joints=num_joints, width=width, depth=depth, levels=levels)
    if not 2 <= levels <= len(MULTIPLES):
        raise ValueError(f"`levels` must be from 2 to {len(MULTIPLES)}, got {levels}.")
    blocks.require_multiple(image_size, 2**levels)
    image, x = blocks.image_input(image_size)
    encoded = []
    for level in range(levels):
        name = f"encoder{level}"
        x = blocks.convolution(
            x, MULTIPLES[level] * width, f"{name}_down", kernel_size=2 if level else 3, strides=2
        )
        for i in range((0, depth - 1, depth)[min(level, 2)]):
            x = blocks.mixing_block(x, context, f"{name}_block{i}")
        encoded.append(x)
    for level in reversed(range(levels - 1)):
        name = f"decoder{level}"
        # Reducing the channels before upsampling gives the same result at a quarter of the cost.
        x = layers.Conv2D(encoded[level].shape[-1], 1, use_bias=False, name=f"{name}_narrow")(x)
        x = context.enlarge(blocks.norm(x, name), 2, f"{name}_up")
        x = layers.Add(name=f"{name}_add")([x, encoded[level]])
        x = layers.ReLU(name=f"{name}_relu")(x)
        x = blocks.mixing_block(x, context, f"{name}_block0")
    logits = blocks.heatmaps(x, num_joints, "heatmaps")
    return keras.Model(image, logits, name=f"u_net_{context.kind}")
