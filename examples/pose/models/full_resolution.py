"""A network without downsampling after the stem: all blocks work at the same resolution.

It follows Zhang, Halber and Rusinkiewicz (arXiv 1906.11367), whose fully convolutional networks
gather context with boxes. At a given depth, only the filters decide how far such a network sees. Of
the networks in this folder, it is therefore the best for comparing filters.
"""

import keras

from examples.pose.models import blocks
from examples.pose.models.blocks import Context


def full_resolution(
    context: Context,
    num_joints: int = 14,
    image_size: int = 96,
    width: int = 48,
    depth: int = 6,
    stride: int = 2,
) -> keras.Model:
    """Builds a stack of blocks at a single resolution.

    Args:
        context: The filters of the blocks.
        num_joints: Number of heatmaps.
        image_size: Side of the images in pixels, a multiple of `stride`.
        width: Number of channels.
        depth: Number of blocks.
        stride: Downsampling of the stem: image pixels per pixel in the blocks, 2 or 4.

    Returns:
        A model from images `[N, image_size, image_size, 3]` to float32 heatmap logits
        `[N, image_size/2, image_size/2, num_joints]`.
    """
    blocks.require_positive(num_joints=num_joints, width=width, depth=depth)
    if stride not in (2, 4):
        raise ValueError(f"`stride` must be 2 or 4, got {stride!r}.")
    blocks.require_multiple(image_size, stride)
    image, x = blocks.image_input(image_size)
    x = blocks.convolution(x, width if stride == 2 else 32, "stem", kernel_size=3, strides=2)
    if stride == 4:
        x = blocks.convolution(x, width, "stem_down", kernel_size=3, strides=2)
    for i in range(depth):
        x = blocks.mixing_block(x, context, f"block{i}")
    logits = blocks.heatmaps(x, num_joints, "heatmaps")
    logits = context.enlarge(logits, stride // 2, "enlarged")
    return keras.Model(image, logits, name=f"full_resolution_{context.kind}")
