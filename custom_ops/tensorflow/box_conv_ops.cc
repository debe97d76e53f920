// Registers BoxConv>BoxConv2D and BoxConv>BoxConv2DGrad: attributes, shape functions,
// documentation.
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace {

using tensorflow::errors::InvalidArgument;
using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

struct Axes {
  int height, width, channels;
};

absl::Status image_axes(InferenceContext* c, Axes* axes) {
  std::string data_format;
  TF_RETURN_IF_ERROR(c->GetAttr("data_format", &data_format));
  *axes = data_format == "NCHW" ? Axes{2, 3, 1} : Axes{1, 2, 3};
  return absl::OkStatus();
}

absl::Status check_strides(InferenceContext* c, std::vector<tensorflow::int32>* strides) {
  TF_RETURN_IF_ERROR(c->GetAttr("strides", strides));
  if (strides->size() != 2 || (*strides)[0] < 1 || (*strides)[1] < 1) {
    return InvalidArgument("`strides` must be two positive integers (stride_y, stride_x)");
  }
  return absl::OkStatus();
}

// Checks the ranks and channels of `input` and `boxes`. If the number of channels is known for only
// one of them, it is set for the other too.
absl::Status check_input_and_boxes(InferenceContext* c, const Axes& axes, ShapeHandle* input,
                                   ShapeHandle* boxes) {
  if (!c->WithRank(c->input(0), 4, input).ok()) {
    return InvalidArgument("`input` must have rank 4, got shape ", c->DebugString(c->input(0)));
  }
  DimensionHandle four, channels;
  if (!c->WithRank(c->input(1), 3, boxes).ok() || !c->WithValue(c->Dim(*boxes, 2), 4, &four).ok()) {
    return InvalidArgument("`boxes` must have shape [C, M, 4], got ", c->DebugString(c->input(1)));
  }
  if (!c->Merge(c->Dim(*input, axes.channels), c->Dim(*boxes, 0), &channels).ok()) {
    return InvalidArgument("`boxes` must have one row per channel of `input`, got boxes ",
                           c->DebugString(*boxes), " and input ", c->DebugString(*input));
  }
  TF_RETURN_IF_ERROR(c->ReplaceDim(*input, axes.channels, channels, input));
  return c->ReplaceDim(*boxes, 0, channels, boxes);
}

// Sets `out` to ceil(size / stride).
absl::Status strided_size(InferenceContext* c, DimensionHandle size, int stride,
                          DimensionHandle* out) {
  DimensionHandle padded;
  TF_RETURN_IF_ERROR(c->Add(size, stride - 1, &padded));
  return c->Divide(padded, stride, /*evenly_divisible=*/false, out);
}

absl::Status output_shape(InferenceContext* c, ShapeHandle* input, ShapeHandle* boxes,
                          ShapeHandle* output) {
  Axes axes;
  std::vector<tensorflow::int32> strides;
  TF_RETURN_IF_ERROR(image_axes(c, &axes));
  TF_RETURN_IF_ERROR(check_strides(c, &strides));
  TF_RETURN_IF_ERROR(check_input_and_boxes(c, axes, input, boxes));
  DimensionHandle height, width, channels;
  TF_RETURN_IF_ERROR(strided_size(c, c->Dim(*input, axes.height), strides[0], &height));
  TF_RETURN_IF_ERROR(strided_size(c, c->Dim(*input, axes.width), strides[1], &width));
  TF_RETURN_IF_ERROR(c->Multiply(c->Dim(*boxes, 0), c->Dim(*boxes, 1), &channels));
  const DimensionHandle batch = c->Dim(*input, 0);
  *output = axes.channels == 1 ? c->MakeShape({batch, channels, height, width})
                               : c->MakeShape({batch, height, width, channels});
  return absl::OkStatus();
}

absl::Status forward_shape(InferenceContext* c) {
  ShapeHandle input, boxes, output;
  TF_RETURN_IF_ERROR(output_shape(c, &input, &boxes, &output));
  c->set_output(0, output);
  return absl::OkStatus();
}

absl::Status backward_shape(InferenceContext* c) {
  ShapeHandle input, boxes, output, merged;
  TF_RETURN_IF_ERROR(output_shape(c, &input, &boxes, &output));
  if (!c->Merge(output, c->input(2), &merged).ok()) {
    return InvalidArgument("`output_grad` must have the output's shape ", c->DebugString(output),
                           ", got ", c->DebugString(c->input(2)));
  }
  c->set_output(0, input);
  c->set_output(1, boxes);
  return absl::OkStatus();
}

}  // namespace

REGISTER_OP("BoxConv>BoxConv2D")
    .Input("input: T")
    .Input("boxes: TBox")
    .Output("output: T")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("TBox: {float, double} = DT_FLOAT")
    .Attr("strides: list(int) = [1, 1]")
    .Attr("normalization: {'none', 'area', 'valid'} = 'area'")
    .Attr("data_format: {'NHWC', 'NCHW'} = 'NHWC'")
    .SetShapeFn(forward_shape)
    .Doc(R"doc(
Convolves each channel with boxes of any size, at a cost that does not depend on the size.

input: Images with C channels. Each pixel is a unit square of constant value. Outside the image,
  values are zero.
boxes: M boxes per channel, `[C, M, 4]`, as (y_min, x_min, y_max, x_max) in pixels relative to the
  centre of the output pixel. double for double images, otherwise float.
output: Channel `c * M + m` is channel `c` of the input, convolved with its box `m`.
strides: (stride_y, stride_x).
normalization: The divisor of the sum over the box. "none": 1. "area": the area of the box. "valid":
  the area of the part of the box inside the image.
)doc");

REGISTER_OP("BoxConv>BoxConv2DGrad")
    .Input("input: T")
    .Input("boxes: TBox")
    .Input("output_grad: T")
    .Output("input_grad: T")
    .Output("boxes_grad: TBox")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("TBox: {float, double} = DT_FLOAT")
    .Attr("strides: list(int) = [1, 1]")
    .Attr("normalization: {'none', 'area', 'valid'} = 'area'")
    .Attr("data_format: {'NHWC', 'NCHW'} = 'NHWC'")
    .SetShapeFn(backward_shape)
    .Doc(R"doc(
Gradients of BoxConv2D with respect to its input and its boxes.

If an edge lies exactly on a pixel border, the derivative is the one-sided derivative for moving the
edge outward.
)doc");
