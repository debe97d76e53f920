// Lowers BoxConv>BoxConv2D, BoxConv>BoxConv2DGrad and BoxConv>IntegralImage to XLA.
//
// On the CPU, and on GPUs in builds with CUDA, the ops become calls of the handlers in ffi/. On
// other devices (TPUs) they become XLA's own operations. If the environment variable TF_BOXCONV_XLA
// is "portable" when the first op is compiled, they do so on all devices.
#include <string>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "ffi/handlers.h"
#include "tensorflow/box_conv_attributes.h"
#include "tensorflow/box_conv_xla_common.h"
#include "tensorflow/box_conv_xla_portable.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "tensorflow/compiler/tf2xla/xla_op_registry.h"
#include "tensorflow/kernel_common.h"
#include "xla/hlo/builder/xla_builder.h"

namespace boxconv {
namespace {

[[maybe_unused]] const bool registered =
    register_handler(kForward, "Host", tf_boxconv_forward_cpu) &&
    register_handler(kBackward, "Host", tf_boxconv_backward_cpu) &&
    register_handler(kIntegralImage, "Host", tf_boxconv_integral_image_cpu);
#ifdef BOXCONV_HAS_CUDA
[[maybe_unused]] const bool registered_cuda =
    register_handler(kForward, "CUDA", tf_boxconv_forward_cuda) &&
    register_handler(kBackward, "CUDA", tf_boxconv_backward_cuda) &&
    register_handler(kIntegralImage, "CUDA", tf_boxconv_integral_image_cuda);
#endif

class BoxConv2DXlaOp : public tensorflow::XlaOpKernel {
 public:
  explicit BoxConv2DXlaOp(tensorflow::OpKernelConstruction* context)
      : tensorflow::XlaOpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.read(context));
  }

  void Compile(XlaOpKernelContext* context) override {
    OpInput input, boxes;
    OP_REQUIRES_OK(context, OpInput::read(context, 0, "input", &input));
    OP_REQUIRES_OK(context, OpInput::read(context, 1, "boxes", &boxes));
    BoxConvProblem problem;
    OP_REQUIRES_OK(context, attributes_.problem(input.shape(), boxes.shape(), &problem));
    const xla::XlaOp output = box_conv(context, problem, input, boxes, input.op());
    context->SetOutput(0, input.with_batch_size(output));
  }

 private:
  BoxConvAttributes attributes_;
};

class BoxConv2DGradXlaOp : public tensorflow::XlaOpKernel {
 public:
  explicit BoxConv2DGradXlaOp(tensorflow::OpKernelConstruction* context)
      : tensorflow::XlaOpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.read(context));
  }

  void Compile(XlaOpKernelContext* context) override {
    OpInput input, boxes, output_grad;
    OP_REQUIRES_OK(context, OpInput::read(context, 0, "input", &input));
    OP_REQUIRES_OK(context, OpInput::read(context, 1, "boxes", &boxes));
    OP_REQUIRES_OK(context, OpInput::read(context, 2, "output_grad", &output_grad));
    BoxConvProblem problem;
    OP_REQUIRES_OK(context, attributes_.problem(input.shape(), boxes.shape(), &problem));
    OP_REQUIRES_OK(context, check_output_grad(output_shape_of(problem), output_grad.shape()));
    // The gradient of the boxes sums over the batch, so undefined images must not contribute.
    xla::XlaOp input_grad, boxes_grad;
    std::tie(input_grad, boxes_grad) =
        box_conv_gradients(context, problem, input, boxes, input.masked(), output_grad.masked());
    context->SetOutput(0, input.with_batch_size(input_grad));
    context->SetOutput(1, boxes_grad);
  }

 private:
  BoxConvAttributes attributes_;
};

class IntegralImageXlaOp : public tensorflow::XlaOpKernel {
 public:
  explicit IntegralImageXlaOp(tensorflow::OpKernelConstruction* context)
      : tensorflow::XlaOpKernel(context) {
    OP_REQUIRES_OK(context, read_layout(context, &layout_));
  }

  void Compile(XlaOpKernelContext* context) override {
    OpInput input;
    OP_REQUIRES_OK(context, OpInput::read(context, 0, "input", &input));
    ImageDims dims;
    OP_REQUIRES_OK(context, read_image_dims(input.shape(), layout_, &dims));
    const xla::PrimitiveType type = context->output_xla_type(0);
    const xla::Shape result = row_major(
        type, image_shape(layout_, {dims.batch, dims.height + 1, dims.width + 1, dims.channels}));
    const xla::XlaOp table =
        has_handler(context)
            ? call_handler(kIntegralImage, {input.op()}, result,
                           absl::StrCat("{", data_format_text(layout_), "}"))
            : portable_integral_image({dims.batch, dims.height, dims.width, dims.channels, layout_},
                                      input.op(), type);
    context->SetOutput(0, input.with_batch_size(table));
  }

 private:
  Layout layout_;
};

REGISTER_XLA_OP(Name("BoxConv>BoxConv2D"), BoxConv2DXlaOp);
REGISTER_XLA_OP(Name("BoxConv>BoxConv2DGrad"), BoxConv2DGradXlaOp);
REGISTER_XLA_OP(Name("BoxConv>IntegralImage"), IntegralImageXlaOp);

}  // namespace
}  // namespace boxconv
