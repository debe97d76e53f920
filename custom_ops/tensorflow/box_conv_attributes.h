// Reads the attributes of BoxConv>BoxConv2D, BoxConv>SeparableBoxConv2D and their gradients, and
// combines them with the shapes of a call to a BoxConvProblem or a SeparableBoxConvProblem.
#ifndef BOXCONV_TENSORFLOW_BOX_CONV_ATTRIBUTES_H_
#define BOXCONV_TENSORFLOW_BOX_CONV_ATTRIBUTES_H_

#include <string>
#include <vector>

#include "core/base/problem.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/kernel_common.h"

namespace boxconv {

// Attributes are read once, when the kernel is constructed.
class BoxConvAttributes {
 public:
  absl::Status read(tensorflow::OpKernelConstruction* context) {
    std::vector<tensorflow::int32> strides;
    TF_RETURN_IF_ERROR(context->GetAttr("strides", &strides));
    if (strides.size() != 2 || strides[0] < 1 || strides[1] < 1) {
      return tensorflow::errors::InvalidArgument(
          "`strides` must be two positive integers (stride_y, stride_x)");
    }
    prototype_.stride_y = strides[0];
    prototype_.stride_x = strides[1];
    std::string normalization;
    TF_RETURN_IF_ERROR(context->GetAttr("normalization", &normalization));
    if (!parse_normalization(normalization, &prototype_.normalization)) {
      return tensorflow::errors::InvalidArgument(
          "`normalization` must be none, area or valid, got ", normalization);
    }
    return read_layout(context, &prototype_.layout);
  }

  absl::Status problem(const tensorflow::TensorShape& input, const tensorflow::TensorShape& boxes,
                       BoxConvProblem* problem) const {
    ImageDims dims;
    TF_RETURN_IF_ERROR(read_image_dims(input, prototype_.layout, &dims));
    if (boxes.dims() != 3 || boxes.dim_size(2) != 4) {
      return tensorflow::errors::InvalidArgument("`boxes` must have shape [C, M, 4], got ",
                                                 boxes.DebugString());
    }
    if (boxes.dim_size(0) != dims.channels) {
      return tensorflow::errors::InvalidArgument(
          "`boxes` must have one row per channel of `input`, got boxes ", boxes.DebugString(),
          " and input ", input.DebugString());
    }
    *problem = prototype_;
    problem->batch = dims.batch;
    problem->height = dims.height;
    problem->width = dims.width;
    problem->channels = dims.channels;
    problem->boxes_per_channel = boxes.dim_size(1);
    return absl::OkStatus();
  }

  absl::Status separable_problem(const tensorflow::TensorShape& input,
                                 const tensorflow::TensorShape& boxes,
                                 const tensorflow::TensorShape& kernel,
                                 SeparableBoxConvProblem* separable) const {
    TF_RETURN_IF_ERROR(problem(input, boxes, &separable->box_conv));
    if (kernel.dims() != 2) {
      return tensorflow::errors::InvalidArgument("`kernel` must have shape [C * M, filters], got ",
                                                 kernel.DebugString());
    }
    if (kernel.dim_size(0) != separable->box_conv.out_channels()) {
      return tensorflow::errors::InvalidArgument("`kernel` must have one row per box, got kernel ",
                                                 kernel.DebugString(), " and boxes ",
                                                 boxes.DebugString());
    }
    separable->filters = kernel.dim_size(1);
    return absl::OkStatus();
  }

 private:
  BoxConvProblem prototype_;
};

inline tensorflow::TensorShape output_shape_of(const BoxConvProblem& p) {
  return image_shape(p.layout, {p.batch, p.out_height(), p.out_width(), p.out_channels()});
}

inline tensorflow::TensorShape output_shape_of(const SeparableBoxConvProblem& p) {
  const BoxConvProblem& b = p.box_conv;
  return image_shape(b.layout, {b.batch, b.out_height(), b.out_width(), p.filters});
}

inline tensorflow::TensorShape bias_shape_of(const SeparableBoxConvProblem& p) {
  return tensorflow::TensorShape({p.filters});
}

inline absl::Status check_bias(const SeparableBoxConvProblem& problem,
                               const tensorflow::TensorShape& bias) {
  if (bias == bias_shape_of(problem)) return absl::OkStatus();
  return tensorflow::errors::InvalidArgument(
      "`bias` must have shape [filters], one value per column of `kernel`: ",
      bias_shape_of(problem).DebugString(), ", got ", bias.DebugString());
}

// `shape` is the shape of the output.
inline absl::Status check_output_grad(const tensorflow::TensorShape& shape,
                                      const tensorflow::TensorShape& output_grad) {
  if (output_grad == shape) return absl::OkStatus();
  return tensorflow::errors::InvalidArgument("`output_grad` must have the output's shape ",
                                             shape.DebugString(), ", got ",
                                             output_grad.DebugString());
}

}  // namespace boxconv

#endif  // BOXCONV_TENSORFLOW_BOX_CONV_ATTRIBUTES_H_
