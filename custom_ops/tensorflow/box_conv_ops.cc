// Registers BoxConv>BoxConv2D and BoxConv>BoxConv2DGrad: attributes, shape functions,
// documentation.
#include "tensorflow/box_conv_shapes.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace boxconv {
namespace {

absl::Status forward_shape(InferenceContext* c) {
  ShapeHandle input, boxes, output;
  TF_RETURN_IF_ERROR(box_conv_shape(c, &input, &boxes, &output));
  c->set_output(0, output);
  return absl::OkStatus();
}

absl::Status backward_shape(InferenceContext* c) {
  ShapeHandle input, boxes, output;
  TF_RETURN_IF_ERROR(box_conv_shape(c, &input, &boxes, &output));
  TF_RETURN_IF_ERROR(check_output_grad(c, output, c->input(2)));
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

}  // namespace boxconv
