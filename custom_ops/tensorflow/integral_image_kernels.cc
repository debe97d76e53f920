// CPU OpKernel of BoxConv>IntegralImage.
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/kernel_common.h"

namespace boxconv {
namespace {

using tensorflow::Tensor;

template <typename T, typename TTable>
class IntegralImageOp : public tensorflow::OpKernel {
 public:
  explicit IntegralImageOp(tensorflow::OpKernelConstruction* context)
      : tensorflow::OpKernel(context) {
    OP_REQUIRES_OK(context, read_layout(context, &layout_));
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    const Tensor& input = context->input(0);
    ImageDims dims;
    OP_REQUIRES_OK(context, read_image_dims(input.shape(), layout_, &dims));
    Tensor* table = nullptr;
    OP_REQUIRES_OK(
        context,
        context->allocate_output(
            0, image_shape(layout_, {dims.batch, dims.height + 1, dims.width + 1, dims.channels}),
            &table));
    advise_huge_pages(*table);
    const IntegralImageProblem problem{dims.batch, dims.height, dims.width, dims.channels, layout_};
    OP_REQUIRES_OK(context,
                   to_tensorflow(integral_image(problem, core_data<T>(input),
                                                core_data<TTable>(table), parallel_for(context))));
  }

 private:
  Layout layout_;
};

#define REGISTER(T, TTable)                                      \
  REGISTER_KERNEL_BUILDER(Name("BoxConv>IntegralImage")          \
                              .Device(tensorflow::DEVICE_CPU)    \
                              .TypeConstraint<T>("T")            \
                              .TypeConstraint<TTable>("TTable"), \
                          IntegralImageOp<T, TTable>);
#define REGISTER_TABLES(T) REGISTER(T, float) REGISTER(T, double)
REGISTER_TABLES(Eigen::half)
REGISTER_TABLES(Eigen::bfloat16)
REGISTER_TABLES(float)
REGISTER_TABLES(double)
#undef REGISTER_TABLES
#undef REGISTER

}  // namespace
}  // namespace boxconv
