// OpKernels of BoxConv>BoxConv2D and BoxConv>BoxConv2DGrad for any device.
#ifndef BOXCONV_TENSORFLOW_BOX_CONV_KERNELS_H_
#define BOXCONV_TENSORFLOW_BOX_CONV_KERNELS_H_

#include "tensorflow/box_conv_attributes.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/kernel_common.h"

namespace boxconv {

template <typename Device, typename T, typename TBox>
class BoxConv2DOp : public tensorflow::OpKernel {
 public:
  explicit BoxConv2DOp(tensorflow::OpKernelConstruction* context) : tensorflow::OpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.read(context));
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    const tensorflow::Tensor &input = context->input(0), &boxes = context->input(1);
    BoxConvProblem problem;
    OP_REQUIRES_OK(context, attributes_.problem(input.shape(), boxes.shape(), &problem));
    tensorflow::Tensor* output = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, output_shape_of(problem), &output));
    OP_REQUIRES_OK(context, Device::forward(context, problem, data_of<T>(input),
                                            data_of<TBox>(boxes), data_of<T>(output)));
  }

 private:
  BoxConvAttributes attributes_;
};

template <typename Device, typename T, typename TBox>
class BoxConv2DGradOp : public tensorflow::OpKernel {
 public:
  explicit BoxConv2DGradOp(tensorflow::OpKernelConstruction* context)
      : tensorflow::OpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.read(context));
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    const tensorflow::Tensor &input = context->input(0), &boxes = context->input(1);
    const tensorflow::Tensor& output_grad = context->input(2);
    BoxConvProblem problem;
    OP_REQUIRES_OK(context, attributes_.problem(input.shape(), boxes.shape(), &problem));
    OP_REQUIRES_OK(context, check_output_grad(output_shape_of(problem), output_grad.shape()));
    tensorflow::Tensor *input_grad = nullptr, *boxes_grad = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, input.shape(), &input_grad));
    OP_REQUIRES_OK(context, context->allocate_output(1, boxes.shape(), &boxes_grad));
    OP_REQUIRES_OK(context, Device::backward(context, problem, data_of<T>(input),
                                             data_of<TBox>(boxes), data_of<T>(output_grad),
                                             data_of<T>(input_grad), data_of<TBox>(boxes_grad)));
  }

 private:
  BoxConvAttributes attributes_;
};

}  // namespace boxconv

#endif  // BOXCONV_TENSORFLOW_BOX_CONV_KERNELS_H_
