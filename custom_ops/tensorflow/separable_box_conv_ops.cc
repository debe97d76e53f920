// Registers BoxConv>SeparableBoxConv2D and BoxConv>SeparableBoxConv2DGrad: attributes, shape
// functions, documentation.
#include "tensorflow/box_conv_shapes.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace boxconv {
namespace {

// Checks `input`, `boxes` and `kernel`, the first three inputs of both ops, and sets `output` to
// the shape of the output.
absl::Status separable_shape(InferenceContext* c, ShapeHandle* input, ShapeHandle* boxes,
                             ShapeHandle* kernel, ShapeHandle* output) {
  ImageAxes axes;
  ShapeHandle responses;
  TF_RETURN_IF_ERROR(image_axes(c, &axes));
  TF_RETURN_IF_ERROR(box_conv_shape(c, input, boxes, &responses));
  if (!c->WithRank(c->input(2), 2, kernel).ok()) {
    return InvalidArgument("`kernel` must have shape [C * M, filters], got ",
                           c->DebugString(c->input(2)));
  }
  DimensionHandle rows;
  if (!c->Merge(c->Dim(responses, axes.channels), c->Dim(*kernel, 0), &rows).ok()) {
    return InvalidArgument("`kernel` must have one row per box, got kernel ",
                           c->DebugString(*kernel), " and boxes ", c->DebugString(*boxes));
  }
  TF_RETURN_IF_ERROR(c->ReplaceDim(*kernel, 0, rows, kernel));
  return c->ReplaceDim(responses, axes.channels, c->Dim(*kernel, 1), output);
}

absl::Status forward_shape(InferenceContext* c) {
  ShapeHandle input, boxes, kernel, bias, output;
  TF_RETURN_IF_ERROR(separable_shape(c, &input, &boxes, &kernel, &output));
  DimensionHandle filters;
  if (!c->WithRank(c->input(3), 1, &bias).ok() ||
      !c->Merge(c->Dim(kernel, 1), c->Dim(bias, 0), &filters).ok()) {
    return InvalidArgument("`bias` must have shape [filters], one value per column of `kernel`, ",
                           "got bias ", c->DebugString(c->input(3)), " and kernel ",
                           c->DebugString(kernel));
  }
  ImageAxes axes;
  TF_RETURN_IF_ERROR(image_axes(c, &axes));
  TF_RETURN_IF_ERROR(c->ReplaceDim(output, axes.channels, filters, &output));
  c->set_output(0, output);
  return absl::OkStatus();
}

absl::Status backward_shape(InferenceContext* c) {
  ShapeHandle input, boxes, kernel, output;
  TF_RETURN_IF_ERROR(separable_shape(c, &input, &boxes, &kernel, &output));
  TF_RETURN_IF_ERROR(check_output_grad(c, output, c->input(3)));
  c->set_output(0, input);
  c->set_output(1, boxes);
  c->set_output(2, kernel);
  c->set_output(3, c->Vector(c->Dim(kernel, 1)));
  return absl::OkStatus();
}

REGISTER_OP("BoxConv>SeparableBoxConv2D")
    .Input("input: T")
    .Input("boxes: TBox")
    .Input("kernel: T")
    .Input("bias: T")
    .Output("output: T")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("TBox: {float, double} = DT_FLOAT")
    .Attr("strides: list(int) = [1, 1]")
    .Attr("normalization: {'none', 'area', 'valid'} = 'area'")
    .Attr("data_format: {'NHWC', 'NCHW'} = 'NHWC'")
    .SetShapeFn(forward_shape)
    .Doc(R"doc(
Box convolution followed by a 1x1 convolution. The responses of the boxes are not kept.

input: Images with C channels. Each pixel is a unit square of constant value. Outside the image,
  values are zero.
boxes: M boxes per channel, `[C, M, 4]`, as (y_min, x_min, y_max, x_max) in pixels relative to the
  centre of the output pixel. double for double images, otherwise float.
kernel: The weights of the 1x1 convolution, `[C * M, filters]`. Row `c * M + m` belongs to channel
  `c` of the input, convolved with its box `m`.
bias: Added to the output, `[filters]`.
output: Images with `filters` channels.
strides: (stride_y, stride_x).
normalization: The divisor of the sum over the box. "none": 1. "area": the area of the box. "valid":
  the area of the part of the box inside the image.
)doc");

REGISTER_OP("BoxConv>SeparableBoxConv2DGrad")
    .Input("input: T")
    .Input("boxes: TBox")
    .Input("kernel: T")
    .Input("output_grad: T")
    .Output("input_grad: T")
    .Output("boxes_grad: TBox")
    .Output("kernel_grad: T")
    .Output("bias_grad: T")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("TBox: {float, double} = DT_FLOAT")
    .Attr("strides: list(int) = [1, 1]")
    .Attr("normalization: {'none', 'area', 'valid'} = 'area'")
    .Attr("data_format: {'NHWC', 'NCHW'} = 'NHWC'")
    .SetShapeFn(backward_shape)
    .Doc(R"doc(
Gradients of SeparableBoxConv2D with respect to its four inputs.

If an edge lies exactly on a pixel border, the derivative is the one-sided derivative for moving the
edge outward.
)doc");

}  // namespace
}  // namespace boxconv
