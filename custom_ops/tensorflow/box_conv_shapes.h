// Shape functions shared by BoxConv>BoxConv2D, BoxConv>SeparableBoxConv2D and their gradients.
#ifndef BOXCONV_TENSORFLOW_BOX_CONV_SHAPES_H_
#define BOXCONV_TENSORFLOW_BOX_CONV_SHAPES_H_

#include <string>
#include <vector>

#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace boxconv {

using tensorflow::errors::InvalidArgument;
using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

struct ImageAxes {
  int height, width, channels;
};

// The axes of the op's data format.
inline absl::Status image_axes(InferenceContext* c, ImageAxes* axes) {
  std::string data_format;
  TF_RETURN_IF_ERROR(c->GetAttr("data_format", &data_format));
  *axes = data_format == "NCHW" ? ImageAxes{2, 3, 1} : ImageAxes{1, 2, 3};
  return absl::OkStatus();
}

inline absl::Status check_strides(InferenceContext* c, std::vector<tensorflow::int32>* strides) {
  TF_RETURN_IF_ERROR(c->GetAttr("strides", strides));
  if (strides->size() != 2 || (*strides)[0] < 1 || (*strides)[1] < 1) {
    return InvalidArgument("`strides` must be two positive integers (stride_y, stride_x)");
  }
  return absl::OkStatus();
}

// Checks the ranks and channels of `input` and `boxes`. If the number of channels is known for only
// one of them, it is set for the other too.
inline absl::Status check_input_and_boxes(InferenceContext* c, const ImageAxes& axes,
                                          ShapeHandle* input, ShapeHandle* boxes) {
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
inline absl::Status strided_size(InferenceContext* c, DimensionHandle size, int stride,
                                 DimensionHandle* out) {
  DimensionHandle padded;
  TF_RETURN_IF_ERROR(c->Add(size, stride - 1, &padded));
  return c->Divide(padded, stride, /*evenly_divisible=*/false, out);
}

// Checks `input` and `boxes`, and sets `output` to the shape of the responses.
inline absl::Status box_conv_shape(InferenceContext* c, ShapeHandle* input, ShapeHandle* boxes,
                                   ShapeHandle* output) {
  ImageAxes axes;
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

// Checks that `output_grad`, an input of a gradient op, can have the shape of the output.
inline absl::Status check_output_grad(InferenceContext* c, ShapeHandle output,
                                      ShapeHandle output_grad) {
  ShapeHandle merged;
  if (c->Merge(output, output_grad, &merged).ok()) return absl::OkStatus();
  return InvalidArgument("`output_grad` must have the output's shape ", c->DebugString(output),
                         ", got ", c->DebugString(output_grad));
}

}  // namespace boxconv

#endif  // BOXCONV_TENSORFLOW_BOX_CONV_SHAPES_H_
