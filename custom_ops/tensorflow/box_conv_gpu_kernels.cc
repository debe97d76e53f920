// GPU OpKernels of BoxConv>BoxConv2D and BoxConv>BoxConv2DGrad. Boxes stay in device memory.
#include "core/box_conv_cuda.h"
#include "tensorflow/box_conv_attributes.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/gpu_kernel_common.h"
#include "tensorflow/kernel_common.h"

namespace boxconv {
namespace {

using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;

template <typename T, typename TBox>
class BoxConv2DGpuOp : public OpKernel {
 public:
  explicit BoxConv2DGpuOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.read(context));
  }

  void Compute(OpKernelContext* context) override {
    using Core = typename CoreType<T>::type;
    const Tensor &input = context->input(0), &boxes = context->input(1);
    BoxConvProblem problem;
    OP_REQUIRES_OK(context, attributes_.problem(input.shape(), boxes.shape(), &problem));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, output_shape(problem), &output));
    if (output->NumElements() == 0) return;
    std::size_t bytes = 0;
    OP_REQUIRES_OK(context,
                   to_tensorflow(box_conv_forward_cuda_workspace<Core, TBox>(problem, &bytes)));
    Tensor memory;
    void* workspace = nullptr;
    OP_REQUIRES_OK(context, allocate_workspace(context, bytes, &memory, &workspace));
    OP_REQUIRES_OK(context, to_tensorflow(box_conv_forward_cuda(
                                problem, core_data<T>(input), core_data<TBox>(boxes),
                                core_data<T>(output), workspace, cuda_stream(context))));
  }

 private:
  BoxConvAttributes attributes_;
};

template <typename T, typename TBox>
class BoxConv2DGradGpuOp : public OpKernel {
 public:
  explicit BoxConv2DGradGpuOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.read(context));
  }

  void Compute(OpKernelContext* context) override {
    using Core = typename CoreType<T>::type;
    const Tensor &input = context->input(0), &boxes = context->input(1);
    const Tensor& output_grad = context->input(2);
    BoxConvProblem problem;
    OP_REQUIRES_OK(context, attributes_.problem(input.shape(), boxes.shape(), &problem));
    OP_REQUIRES_OK(context, check_output_grad(problem, output_grad.shape()));
    Tensor *input_grad = nullptr, *boxes_grad = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, input.shape(), &input_grad));
    OP_REQUIRES_OK(context, context->allocate_output(1, boxes.shape(), &boxes_grad));
    std::size_t bytes = 0;
    OP_REQUIRES_OK(context,
                   to_tensorflow(box_conv_backward_cuda_workspace<Core, TBox>(problem, &bytes)));
    Tensor memory;
    void* workspace = nullptr;
    OP_REQUIRES_OK(context, allocate_workspace(context, bytes, &memory, &workspace));
    OP_REQUIRES_OK(context, to_tensorflow(box_conv_backward_cuda(
                                problem, core_data<T>(input), core_data<TBox>(boxes),
                                core_data<T>(output_grad), core_data<T>(input_grad),
                                core_data<TBox>(boxes_grad), workspace, cuda_stream(context))));
  }

 private:
  BoxConvAttributes attributes_;
};

#define REGISTER(T, TBox)                                     \
  REGISTER_KERNEL_BUILDER(Name("BoxConv>BoxConv2D")           \
                              .Device(tensorflow::DEVICE_GPU) \
                              .TypeConstraint<T>("T")         \
                              .TypeConstraint<TBox>("TBox"),  \
                          BoxConv2DGpuOp<T, TBox>);           \
  REGISTER_KERNEL_BUILDER(Name("BoxConv>BoxConv2DGrad")       \
                              .Device(tensorflow::DEVICE_GPU) \
                              .TypeConstraint<T>("T")         \
                              .TypeConstraint<TBox>("TBox"),  \
                          BoxConv2DGradGpuOp<T, TBox>);
REGISTER(Eigen::half, float)
REGISTER(Eigen::bfloat16, float)
REGISTER(float, float)
REGISTER(double, double)
#undef REGISTER

}  // namespace
}  // namespace boxconv
