// OpKernel of BoxConv>IntegralImage for any device.
#ifndef BOXCONV_TENSORFLOW_INTEGRAL_IMAGE_KERNEL_H_
#define BOXCONV_TENSORFLOW_INTEGRAL_IMAGE_KERNEL_H_

#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/kernel_common.h"

namespace boxconv {

template <typename Device, typename T, typename TTable>
class IntegralImageOp : public tensorflow::OpKernel {
 public:
  explicit IntegralImageOp(tensorflow::OpKernelConstruction* context)
      : tensorflow::OpKernel(context) {
    OP_REQUIRES_OK(context, read_layout(context, &layout_));
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    const tensorflow::Tensor& input = context->input(0);
    ImageDims dims;
    OP_REQUIRES_OK(context, read_image_dims(input.shape(), layout_, &dims));
    tensorflow::Tensor* table = nullptr;
    OP_REQUIRES_OK(
        context,
        context->allocate_output(
            0, image_shape(layout_, {dims.batch, dims.height + 1, dims.width + 1, dims.channels}),
            &table));
    const IntegralImageProblem problem{dims.batch, dims.height, dims.width, dims.channels, layout_};
    OP_REQUIRES_OK(context, Device::integral_image(context, problem, data_of<T>(input),
                                                   data_of<TTable>(table)));
  }

 private:
  Layout layout_;
};

}  // namespace boxconv

#endif  // BOXCONV_TENSORFLOW_INTEGRAL_IMAGE_KERNEL_H_
