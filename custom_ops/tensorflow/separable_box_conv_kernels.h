// OpKernels of BoxConv>SeparableBoxConv2D and BoxConv>SeparableBoxConv2DGrad.
#ifndef BOXCONV_TENSORFLOW_SEPARABLE_BOX_CONV_KERNELS_H_
#define BOXCONV_TENSORFLOW_SEPARABLE_BOX_CONV_KERNELS_H_

#include "tensorflow/box_conv_attributes.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/kernel_common.h"

namespace boxconv {

template <typename Device, typename T, typename TBox>
class SeparableBoxConv2DOp : public tensorflow::OpKernel {
 public:
  explicit SeparableBoxConv2DOp(tensorflow::OpKernelConstruction* context)
      : tensorflow::OpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.read(context));
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    const tensorflow::Tensor &input = context->input(0), &boxes = context->input(1);
    const tensorflow::Tensor &kernel = context->input(2), &bias = context->input(3);
    SeparableBoxConvProblem problem;
    OP_REQUIRES_OK(context, attributes_.separable_problem(input.shape(), boxes.shape(),
                                                          kernel.shape(), &problem));
    OP_REQUIRES_OK(context, check_bias(problem, bias.shape()));
    tensorflow::Tensor* output = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, output_shape_of(problem), &output));
    OP_REQUIRES_OK(context, Device::separable_forward(context, problem, data_of<T>(input),
                                                      data_of<TBox>(boxes), data_of<T>(kernel),
                                                      data_of<T>(bias), data_of<T>(output)));
  }

 private:
  BoxConvAttributes attributes_;
};

template <typename Device, typename T, typename TBox>
class SeparableBoxConv2DGradOp : public tensorflow::OpKernel {
 public:
  explicit SeparableBoxConv2DGradOp(tensorflow::OpKernelConstruction* context)
      : tensorflow::OpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.read(context));
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    const tensorflow::Tensor &input = context->input(0), &boxes = context->input(1);
    const tensorflow::Tensor &kernel = context->input(2), &output_grad = context->input(3);
    SeparableBoxConvProblem problem;
    OP_REQUIRES_OK(context, attributes_.separable_problem(input.shape(), boxes.shape(),
                                                          kernel.shape(), &problem));
    OP_REQUIRES_OK(context, check_output_grad(output_shape_of(problem), output_grad.shape()));
    tensorflow::Tensor *input_grad = nullptr, *boxes_grad = nullptr;
    tensorflow::Tensor *kernel_grad = nullptr, *bias_grad = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, input.shape(), &input_grad));
    OP_REQUIRES_OK(context, context->allocate_output(1, boxes.shape(), &boxes_grad));
    OP_REQUIRES_OK(context, context->allocate_output(2, kernel.shape(), &kernel_grad));
    OP_REQUIRES_OK(context, context->allocate_output(3, bias_shape_of(problem), &bias_grad));
    OP_REQUIRES_OK(
        context, Device::separable_backward(
                     context, problem, data_of<T>(input), data_of<TBox>(boxes), data_of<T>(kernel),
                     data_of<T>(output_grad), data_of<T>(input_grad), data_of<TBox>(boxes_grad),
                     data_of<T>(kernel_grad), data_of<T>(bias_grad)));
  }

 private:
  BoxConvAttributes attributes_;
};

}  // namespace boxconv

#endif  // BOXCONV_TENSORFLOW_SEPARABLE_BOX_CONV_KERNELS_H_
