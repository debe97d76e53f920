// GPU OpKernel of BoxConv>IntegralImage.
#include "core/box_conv_cuda.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/gpu_kernel_common.h"
#include "tensorflow/kernel_common.h"

namespace boxconv {
namespace {

using tensorflow::Tensor;

template <typename T, typename TTable>
class IntegralImageGpuOp : public tensorflow::OpKernel {
 public:
  explicit IntegralImageGpuOp(tensorflow::OpKernelConstruction* context)
      : tensorflow::OpKernel(context) {
    OP_REQUIRES_OK(context, read_layout(context, &layout_));
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    using Core = typename CoreType<T>::type;
    const Tensor& input = context->input(0);
    ImageDims dims;
    OP_REQUIRES_OK(context, read_image_dims(input.shape(), layout_, &dims));
    Tensor* table = nullptr;
    OP_REQUIRES_OK(
        context,
        context->allocate_output(
            0, image_shape(layout_, {dims.batch, dims.height + 1, dims.width + 1, dims.channels}),
            &table));
    const IntegralImageProblem problem{dims.batch, dims.height, dims.width, dims.channels, layout_};
    std::size_t bytes = 0;
    OP_REQUIRES_OK(context,
                   to_tensorflow(integral_image_cuda_workspace<Core, TTable>(problem, &bytes)));
    Tensor memory;
    void* workspace = nullptr;
    OP_REQUIRES_OK(context, allocate_workspace(context, bytes, &memory, &workspace));
    OP_REQUIRES_OK(context, to_tensorflow(integral_image_cuda(problem, core_data<T>(input),
                                                              core_data<TTable>(table), workspace,
                                                              cuda_stream(context))));
  }

 private:
  Layout layout_;
};

#define REGISTER(T, TTable)                                      \
  REGISTER_KERNEL_BUILDER(Name("BoxConv>IntegralImage")          \
                              .Device(tensorflow::DEVICE_GPU)    \
                              .TypeConstraint<T>("T")            \
                              .TypeConstraint<TTable>("TTable"), \
                          IntegralImageGpuOp<T, TTable>);
#define REGISTER_TABLES(T) REGISTER(T, float) REGISTER(T, double)
REGISTER_TABLES(Eigen::half)
REGISTER_TABLES(Eigen::bfloat16)
REGISTER_TABLES(float)
REGISTER_TABLES(double)
#undef REGISTER_TABLES
#undef REGISTER

}  // namespace
}  // namespace boxconv
