// CPU OpKernels of BoxConv>BoxConv2D and BoxConv>BoxConv2DGrad.
#include <string>
#include <vector>

#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/kernel_common.h"

namespace boxconv {
namespace {

using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::errors::InvalidArgument;

// Attributes are read once, at construction; shapes come with each call.
class BoxConvAttributes {
 public:
  absl::Status read(OpKernelConstruction* context) {
    std::vector<tensorflow::int32> strides;
    TF_RETURN_IF_ERROR(context->GetAttr("strides", &strides));
    if (strides.size() != 2 || strides[0] < 1 || strides[1] < 1) {
      return InvalidArgument("`strides` must be two positive integers (stride_y, stride_x)");
    }
    prototype_.stride_y = strides[0];
    prototype_.stride_x = strides[1];
    std::string normalization;
    TF_RETURN_IF_ERROR(context->GetAttr("normalization", &normalization));
    prototype_.normalization = normalization == "area"    ? Normalization::kArea
                               : normalization == "valid" ? Normalization::kValid
                                                          : Normalization::kNone;
    return read_layout(context, &prototype_.layout);
  }

  absl::Status problem(const Tensor& input, const Tensor& boxes, BoxConvProblem* problem) const {
    ImageDims dims;
    TF_RETURN_IF_ERROR(read_image_dims(input, prototype_.layout, &dims));
    if (boxes.dims() != 3 || boxes.dim_size(2) != 4) {
      return InvalidArgument("`boxes` must have shape [C, M, 4], got ",
                             boxes.shape().DebugString());
    }
    if (boxes.dim_size(0) != dims.channels) {
      return InvalidArgument("`boxes` must have one row per channel of `input`, got boxes ",
                             boxes.shape().DebugString(), " and input ",
                             input.shape().DebugString());
    }
    *problem = prototype_;
    problem->batch = dims.batch;
    problem->height = dims.height;
    problem->width = dims.width;
    problem->channels = dims.channels;
    problem->boxes_per_channel = boxes.dim_size(1);
    return absl::OkStatus();
  }

 private:
  BoxConvProblem prototype_;
};

tensorflow::TensorShape output_shape(const BoxConvProblem& p) {
  return image_shape(p.layout, {p.batch, p.out_height(), p.out_width(), p.out_channels()});
}

template <typename T, typename TBox>
class BoxConv2DOp : public OpKernel {
 public:
  explicit BoxConv2DOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.read(context));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor &input = context->input(0), &boxes = context->input(1);
    BoxConvProblem problem;
    OP_REQUIRES_OK(context, attributes_.problem(input, boxes, &problem));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, output_shape(problem), &output));
    advise_huge_pages(*output);
    OP_REQUIRES_OK(context, to_tensorflow(box_conv_forward(
                                problem, core_data<T>(input), core_data<TBox>(boxes),
                                core_data<T>(output), parallel_for(context))));
  }

 private:
  BoxConvAttributes attributes_;
};

template <typename T, typename TBox>
class BoxConv2DGradOp : public OpKernel {
 public:
  explicit BoxConv2DGradOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.read(context));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor &input = context->input(0), &boxes = context->input(1);
    const Tensor& output_grad = context->input(2);
    BoxConvProblem problem;
    OP_REQUIRES_OK(context, attributes_.problem(input, boxes, &problem));
    OP_REQUIRES(context, output_grad.shape() == output_shape(problem),
                InvalidArgument("`output_grad` must have the output's shape ",
                                output_shape(problem).DebugString(), ", got ",
                                output_grad.shape().DebugString()));
    Tensor *input_grad = nullptr, *boxes_grad = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, input.shape(), &input_grad));
    OP_REQUIRES_OK(context, context->allocate_output(1, boxes.shape(), &boxes_grad));
    advise_huge_pages(*input_grad);
    OP_REQUIRES_OK(context, to_tensorflow(box_conv_backward(
                                problem, core_data<T>(input), core_data<TBox>(boxes),
                                core_data<T>(output_grad), core_data<T>(input_grad),
                                core_data<TBox>(boxes_grad), parallel_for(context))));
  }

 private:
  BoxConvAttributes attributes_;
};

#define REGISTER(T, TBox)                                     \
  REGISTER_KERNEL_BUILDER(Name("BoxConv>BoxConv2D")           \
                              .Device(tensorflow::DEVICE_CPU) \
                              .TypeConstraint<T>("T")         \
                              .TypeConstraint<TBox>("TBox"),  \
                          BoxConv2DOp<T, TBox>);              \
  REGISTER_KERNEL_BUILDER(Name("BoxConv>BoxConv2DGrad")       \
                              .Device(tensorflow::DEVICE_CPU) \
                              .TypeConstraint<T>("T")         \
                              .TypeConstraint<TBox>("TBox"),  \
                          BoxConv2DGradOp<T, TBox>);
REGISTER(Eigen::half, float)
REGISTER(Eigen::bfloat16, float)
REGISTER(float, float)
REGISTER(double, double)
#undef REGISTER

}  // namespace
}  // namespace boxconv
