"""Box convolution and 1x1 convolution as two operations, for devices without a fused operator."""

from __future__ import annotations

from tf_boxconv.ops.box_conv_portable import box_conv2d_portable
from tf_boxconv.ops.mixing import add_bias, mix_channels


def separable_box_conv2d_portable(
    x,
    boxes,
    kernel,
    bias,
    strides: tuple[int, int],
    normalization: str | None,
    data_format: str,
    run_box_conv=box_conv2d_portable,
):
    """Computes `tf_boxconv.separable_box_conv2d` on arguments that are checked already.

    Args:
        x: Images.
        boxes: Boxes `[C, M, 4]`.
        kernel: Weights `[C * M, filters]`, in the dtype of `x`.
        bias: `[filters]`, in the dtype of `x`, or None.
        strides: `(stride_y, stride_x)`.
        normalization: `"area"`, `"valid"` or `None`.
        data_format: `"channels_last"` or `"channels_first"`.
        run_box_conv: Computes the responses of the boxes; takes the arguments of
            `box_conv2d_portable`. A backend may pass its compiled operator.
    """
    responses = run_box_conv(x, boxes, strides, normalization, data_format)
    outputs = mix_channels(responses, kernel, data_format)
    return outputs if bias is None else add_bias(outputs, bias, data_format)
