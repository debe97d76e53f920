"""A small network for CPUs that works at a quarter of the image's resolution.

Two strided convolutions downsample the image. Each block then filters near (3x3 kernel) and far
(boxes, which can cover the whole plane from the first block on) and mixes the channels.

With `stages` above one, the blocks form that many groups. Each group predicts heatmaps of its own,
is trained on them, and passes them on to the next group.
"""

import keras
from keras import layers

from examples.pose.models import blocks
from examples.pose.models.blocks import Context

STRIDE = 4  # Image pixels per pixel in the blocks.
STEM_WIDTH = 32


def light(
    context: Context,
    num_joints: int = 14,
    image_size: int = 96,
    width: int = 64,
    depth: int = 4,
    stages: int = 1,
) -> keras.Model:
    """Builds a light network.

    Args:
        context: The filters of the blocks.
        num_joints: Number of heatmaps.
        image_size: Side of the images in pixels, a multiple of 4.
        width: Number of channels.
        depth: Number of blocks, a multiple of `stages`.
        stages: Number of groups of blocks, each with heatmaps of its own.

    Returns:
        A model from images `[N, image_size, image_size, 3]` to float32 heatmap logits
        `[N, image_size/2, image_size/2, num_joints]`: one output for each stage, in order.
    """
    blocks.require_positive(num_joints=num_joints, width=width, depth=depth, stages=stages)
    if depth % stages:
        raise ValueError(f"`depth` must be a multiple of `stages`, {stages}, got {depth}.")
    blocks.require_multiple(image_size, STRIDE)
    image, x = blocks.image_input(image_size)
    x = blocks.convolution(x, STEM_WIDTH, "stem", kernel_size=3, strides=2)
    x = blocks.convolution(x, width, "stem_down", kernel_size=3, strides=2)
    outputs = []
    for stage in range(stages):
        name = f"stage{stage}"
        for i in range(depth // stages):
            x = blocks.mixing_block(x, context, f"{name}_block{i}")
        heatmaps = blocks.heatmaps(x, num_joints, f"{name}_heatmaps")
        outputs.append(context.enlarge(heatmaps, STRIDE // 2, f"{name}_enlarged"))
        if stage + 1 < stages:
            guess = layers.Conv2D(width, 1, use_bias=False, name=f"{name}_guess")(heatmaps)
            x = layers.Add(name=f"{name}_add")([x, blocks.norm(guess, f"{name}_guess")])
            x = layers.ReLU(name=f"{name}_relu")(x)
    return keras.Model(image, outputs[0] if stages == 1 else outputs, name=f"light_{context.kind}")
