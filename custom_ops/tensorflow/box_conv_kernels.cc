// CPU OpKernels of BoxConv>BoxConv2D and BoxConv>BoxConv2DGrad.
#include "tensorflow/box_conv_attributes.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/kernel_common.h"

namespace boxconv {
namespace {

using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;

template <typename T, typename TBox>
class BoxConv2DOp : public OpKernel {
 public:
  explicit BoxConv2DOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.read(context));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor &input = context->input(0), &boxes = context->input(1);
    BoxConvProblem problem;
    OP_REQUIRES_OK(context, attributes_.problem(input.shape(), boxes.shape(), &problem));
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
    OP_REQUIRES_OK(context, attributes_.problem(input.shape(), boxes.shape(), &problem));
    OP_REQUIRES_OK(context, check_output_grad(problem, output_grad.shape()));
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
