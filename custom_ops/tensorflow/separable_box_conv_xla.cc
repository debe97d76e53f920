// Lowers BoxConv>SeparableBoxConv2D and BoxConv>SeparableBoxConv2DGrad to XLA.
//
// On the CPU the ops become calls of the handlers in ffi/. On other devices they become a box
// convolution, as box_conv_xla.cc lowers it, and matrix products.
#include <tuple>

#include "ffi/handlers.h"
#include "tensorflow/box_conv_attributes.h"
#include "tensorflow/box_conv_xla_common.h"
#include "tensorflow/box_conv_xla_portable.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "tensorflow/compiler/tf2xla/xla_op_registry.h"
#include "xla/hlo/builder/xla_builder.h"
#include "xla/shape_util.h"

namespace boxconv {
namespace {

constexpr char kSeparableForward[] = "tf_boxconv_separable_forward",
               kSeparableBackward[] = "tf_boxconv_separable_backward";

[[maybe_unused]] const bool registered =
    register_handler(kSeparableForward, "Host", tf_boxconv_separable_forward_cpu) &&
    register_handler(kSeparableBackward, "Host", tf_boxconv_separable_backward_cpu);

// The first three inputs, which both ops have.
struct Inputs {
  OpInput input, boxes, kernel;

  absl::Status read(XlaOpKernelContext* context, const BoxConvAttributes& attributes,
                    SeparableBoxConvProblem* problem) {
    TF_RETURN_IF_ERROR(OpInput::read(context, 0, "input", &input));
    TF_RETURN_IF_ERROR(OpInput::read(context, 1, "boxes", &boxes));
    TF_RETURN_IF_ERROR(OpInput::read(context, 2, "kernel", &kernel));
    return attributes.separable_problem(input.shape(), boxes.shape(), kernel.shape(), problem);
  }
};

// The composition, for devices without a handler. Products accumulate in the type of the boxes.
class Composition {
 public:
  Composition(XlaOpKernelContext* context, const SeparableBoxConvProblem& problem,
              const Inputs& inputs)
      : context_(context), problem_(problem.box_conv), inputs_(inputs) {}

  xla::XlaOp forward(xla::XlaOp bias) const {
    const xla::XlaOp x = inputs_.input.op();
    const xla::XlaOp responses = box_conv(context_, problem_, inputs_.input, inputs_.boxes, x);
    const xla::XlaOp output = product_by_pixel(responses, 0);
    return to_image_type(xla::Add(output, to_sum_type(bias), {channel_axis()}));
  }

  // The gradients of the input, the boxes, the kernel and the bias.
  std::tuple<xla::XlaOp, xla::XlaOp, xla::XlaOp, xla::XlaOp> backward(
      xla::XlaOp x, xla::XlaOp output_grad) const {
    const xla::XlaOp responses_grad = to_image_type(product_by_pixel(output_grad, 1));
    const auto [input_grad, boxes_grad] =
        box_conv_gradients(context_, problem_, inputs_.input, inputs_.boxes, x, responses_grad);
    const xla::XlaOp responses = box_conv(context_, problem_, inputs_.input, inputs_.boxes, x);
    const Axes pixels = channels_first() ? Axes{0, 2, 3} : Axes{0, 1, 2};
    const xla::XlaOp grad = to_sum_type(output_grad);
    const xla::XlaOp kernel_grad = dot(to_sum_type(responses), {}, pixels, grad, {}, pixels);
    const xla::XlaOp bias_grad = sum_over(grad, sum_type(), pixels);
    return {input_grad, boxes_grad, to_image_type(kernel_grad), to_image_type(bias_grad)};
  }

 private:
  bool channels_first() const { return problem_.layout == Layout::kChannelsFirst; }
  std::int64_t channel_axis() const { return channels_first() ? 1 : 3; }

  xla::PrimitiveType sum_type() const { return inputs_.boxes.type(); }
  xla::XlaOp to_sum_type(xla::XlaOp values) const {
    return xla::ConvertElementType(values, sum_type());
  }
  xla::XlaOp to_image_type(xla::XlaOp values) const {
    return xla::ConvertElementType(values, inputs_.input.type());
  }

  // The channels of each pixel, multiplied by the kernel along its axis `contracted`.
  xla::XlaOp product_by_pixel(xla::XlaOp images, std::int64_t contracted) const {
    const xla::XlaOp channels_last = dot(to_sum_type(images), {}, {channel_axis()},
                                         to_sum_type(inputs_.kernel.op()), {}, {contracted});
    return channels_first() ? xla::Transpose(channels_last, {0, 3, 1, 2}) : channels_last;
  }

  XlaOpKernelContext* context_;
  const BoxConvProblem& problem_;
  const Inputs& inputs_;
};

class SeparableBoxConv2DXlaOp : public tensorflow::XlaOpKernel {
 public:
  explicit SeparableBoxConv2DXlaOp(tensorflow::OpKernelConstruction* context)
      : tensorflow::XlaOpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.read(context));
  }

  void Compile(XlaOpKernelContext* context) override {
    Inputs inputs;
    OpInput bias;
    SeparableBoxConvProblem problem;
    OP_REQUIRES_OK(context, inputs.read(context, attributes_, &problem));
    OP_REQUIRES_OK(context, OpInput::read(context, 3, "bias", &bias));
    OP_REQUIRES_OK(context, check_bias(problem, bias.shape()));
    const xla::XlaOp output =
        has_cpu_handler(context)
            ? call_handler(kSeparableForward,
                           {inputs.input.op(), inputs.boxes.op(), inputs.kernel.op(), bias.op()},
                           row_major(inputs.input.type(), output_shape_of(problem)),
                           attributes_text(problem.box_conv))
            : Composition(context, problem, inputs).forward(bias.op());
    context->SetOutput(0, inputs.input.with_batch_size(output));
  }

 private:
  BoxConvAttributes attributes_;
};

class SeparableBoxConv2DGradXlaOp : public tensorflow::XlaOpKernel {
 public:
  explicit SeparableBoxConv2DGradXlaOp(tensorflow::OpKernelConstruction* context)
      : tensorflow::XlaOpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.read(context));
  }

  void Compile(XlaOpKernelContext* context) override {
    Inputs inputs;
    OpInput output_grad;
    SeparableBoxConvProblem problem;
    OP_REQUIRES_OK(context, inputs.read(context, attributes_, &problem));
    OP_REQUIRES_OK(context, OpInput::read(context, 3, "output_grad", &output_grad));
    OP_REQUIRES_OK(context, check_output_grad(output_shape_of(problem), output_grad.shape()));
    // All gradients but the input's sum over the batch, so undefined images must not contribute.
    const xla::XlaOp x = inputs.input.masked(), grad = output_grad.masked();
    xla::XlaOp gradients[4];
    if (has_cpu_handler(context)) {
      const xla::Shape bias = row_major(inputs.input.type(), bias_shape_of(problem));
      const xla::Shape result = xla::ShapeUtil::MakeTupleShape(
          {row_major(inputs.input), row_major(inputs.boxes), row_major(inputs.kernel), bias});
      const xla::XlaOp all =
          call_handler(kSeparableBackward, {x, inputs.boxes.op(), inputs.kernel.op(), grad}, result,
                       attributes_text(problem.box_conv));
      for (int i = 0; i < 4; ++i) gradients[i] = xla::GetTupleElement(all, i);
    } else {
      std::tie(gradients[0], gradients[1], gradients[2], gradients[3]) =
          Composition(context, problem, inputs).backward(x, grad);
    }
    context->SetOutput(0, inputs.input.with_batch_size(gradients[0]));
    for (int i = 1; i < 4; ++i) context->SetOutput(i, gradients[i]);
  }

 private:
  BoxConvAttributes attributes_;
};

REGISTER_XLA_OP(Name("BoxConv>SeparableBoxConv2D"), SeparableBoxConv2DXlaOp);
REGISTER_XLA_OP(Name("BoxConv>SeparableBoxConv2DGrad"), SeparableBoxConv2DGradXlaOp);

}  // namespace
}  // namespace boxconv
