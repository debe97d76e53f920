"""Stacked hourglasses: each downsamples to a coarse plane, upsamples again and predicts heatmaps.

After Newell, Yang and Deng, *Stacked Hourglass Networks for Human Pose Estimation* (ECCV 2016),
with a choice of filters in the residual blocks.
"""

import keras
from keras import layers

from examples.pose.models import blocks
from examples.pose.models.blocks import Context

STEM_STRIDE = 4  # Image pixels per pixel of the largest plane of an hourglass.


def hourglass(
    context: Context,
    num_joints: int = 14,
    image_size: int = 96,
    width: int = 64,
    depth: int = 3,
    stacks: int = 2,
) -> keras.Model:
    """Builds a stack of hourglasses.

    Args:
        context: The filters of the residual blocks.
        num_joints: Number of heatmaps.
        image_size: Side of the images in pixels, a multiple of `4 * 2**depth`.
        width: Number of channels at every resolution.
        depth: How often an hourglass halves the resolution.
        stacks: Number of hourglasses. Each sees the features and the heatmaps of the one before.

    Returns:
        A model from images `[N, image_size, image_size, 3]` to float32 heatmap logits
        `[N, image_size/2, image_size/2, num_joints]`: one output for each hourglass, in order.
    """
    blocks.require_positive(num_joints=num_joints, width=width, depth=depth, stacks=stacks)
    blocks.require_multiple(image_size, STEM_STRIDE * 2**depth)
    image, x = blocks.image_input(image_size)
    x = blocks.convolution(x, max(width // 2, 1), "stem", kernel_size=7, strides=2)
    x = blocks.bottleneck_block(x, context, width, "stem_block")
    x = layers.MaxPooling2D(2, name="stem_pool")(x)
    outputs = []
    for stack in range(stacks):
        name = f"stack{stack}"
        features = _hourglass(x, context, depth, name)
        features = blocks.bottleneck_block(features, context, width, f"{name}_block")
        features = blocks.convolution(features, width, f"{name}_features")
        heatmaps = blocks.heatmaps(features, num_joints, f"{name}_heatmaps")
        outputs.append(context.enlarge(heatmaps, STEM_STRIDE // 2, f"{name}_enlarged"))
        if stack + 1 < stacks:
            again = [
                layers.Conv2D(width, 1, name=f"{name}_features_again")(features),
                layers.Conv2D(width, 1, name=f"{name}_heatmaps_again")(heatmaps),
            ]
            x = layers.Add(name=f"{name}_add")([x, *again])
    return keras.Model(image, outputs, name=f"hourglass_{context.kind}")


def _hourglass(x, context: Context, depth: int, name: str):
    """One hourglass with `depth` levels below the resolution of `x`. Keeps the shape of `x`."""
    width = x.shape[-1]
    name = f"{name}_level{depth}"
    beside = blocks.bottleneck_block(x, context, width, f"{name}_beside")
    below = layers.MaxPooling2D(2, name=f"{name}_pool")(x)
    below = blocks.bottleneck_block(below, context, width, f"{name}_down")
    if depth > 1:
        below = _hourglass(below, context, depth - 1, name)
    else:
        below = blocks.bottleneck_block(below, context, width, f"{name}_bottom")
    below = blocks.bottleneck_block(below, context, width, f"{name}_up")
    below = layers.UpSampling2D(2, name=f"{name}_enlarge")(below)
    return layers.Add(name=f"{name}_add")([beside, below])
