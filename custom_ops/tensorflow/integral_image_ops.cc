// Registers BoxConv>IntegralImage: attributes, shape function, documentation.
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace {

using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

absl::Status integral_image_shape(InferenceContext* c) {
  ShapeHandle shape;
  if (!c->WithRank(c->input(0), 4, &shape).ok()) {
    return tensorflow::errors::InvalidArgument("`input` must have rank 4, got shape ",
                                               c->DebugString(c->input(0)));
  }
  std::string data_format;
  TF_RETURN_IF_ERROR(c->GetAttr("data_format", &data_format));
  const int height_axis = data_format == "NCHW" ? 2 : 1, width_axis = height_axis + 1;
  for (const int axis : {height_axis, width_axis}) {
    DimensionHandle size;
    TF_RETURN_IF_ERROR(c->Add(c->Dim(shape, axis), 1, &size));
    TF_RETURN_IF_ERROR(c->ReplaceDim(shape, axis, size, &shape));
  }
  c->set_output(0, shape);
  return absl::OkStatus();
}

}  // namespace

REGISTER_OP("BoxConv>IntegralImage")
    .Input("input: T")
    .Output("table: TTable")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("TTable: {float, double} = DT_FLOAT")
    .Attr("data_format: {'NHWC', 'NCHW'} = 'NHWC'")
    .SetShapeFn(integral_image_shape)
    .Doc(R"doc(
Computes the integral image (summed-area table) of each plane: entry (i, j) is the sum over rows < i
and columns < j.

table: One row and one column larger than the input. Sums are accumulated in double.
)doc");
