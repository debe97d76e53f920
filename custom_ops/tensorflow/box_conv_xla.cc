// Lowers BoxConv>BoxConv2D, BoxConv>BoxConv2DGrad and BoxConv>IntegralImage to XLA.
//
// On the CPU, and on GPUs in builds with CUDA, the ops become calls of the handlers in ffi/. On
// other devices (TPUs) they become XLA's own operations. If the environment variable TF_BOXCONV_XLA
// is "portable" when the first op is compiled, they do so on all devices.
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "ffi/handlers.h"
#include "tensorflow/box_conv_attributes.h"
#include "tensorflow/box_conv_xla_portable.h"
#include "tensorflow/compiler/tf2xla/xla_compiler.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "tensorflow/compiler/tf2xla/xla_op_registry.h"
#include "tensorflow/kernel_common.h"
#include "xla/ffi/api/ffi.h"
#include "xla/hlo/builder/xla_builder.h"
#include "xla/shape_util.h"

namespace xla::ffi {
const XLA_FFI_Api* GetXlaFfiApi();  // in libtensorflow_cc
}

namespace boxconv {
namespace {

using tensorflow::TensorShape;
using tensorflow::XlaOpKernelContext;
using tensorflow::errors::InvalidArgument;
using tensorflow::errors::Unimplemented;

constexpr char kForward[] = "tf_boxconv_forward", kBackward[] = "tf_boxconv_backward",
               kIntegralImage[] = "tf_boxconv_integral_image";

XLA_FFI_REGISTER_HANDLER(xla::ffi::GetXlaFfiApi(), kForward, "Host", tf_boxconv_forward_cpu);
XLA_FFI_REGISTER_HANDLER(xla::ffi::GetXlaFfiApi(), kBackward, "Host", tf_boxconv_backward_cpu);
XLA_FFI_REGISTER_HANDLER(xla::ffi::GetXlaFfiApi(), kIntegralImage, "Host",
                         tf_boxconv_integral_image_cpu);
#ifdef BOXCONV_HAS_CUDA
XLA_FFI_REGISTER_HANDLER(xla::ffi::GetXlaFfiApi(), kForward, "CUDA", tf_boxconv_forward_cuda);
XLA_FFI_REGISTER_HANDLER(xla::ffi::GetXlaFfiApi(), kBackward, "CUDA", tf_boxconv_backward_cuda);
XLA_FFI_REGISTER_HANDLER(xla::ffi::GetXlaFfiApi(), kIntegralImage, "CUDA",
                         tf_boxconv_integral_image_cuda);
constexpr bool kHasCuda = true;
#else
constexpr bool kHasCuda = false;
#endif

bool portable_is_forced() {
  static const bool forced = [] {
    const char* choice = std::getenv("TF_BOXCONV_XLA");
    return choice != nullptr && std::strcmp(choice, "portable") == 0;
  }();
  return forced;
}

bool has_handler(XlaOpKernelContext* context) {
  if (portable_is_forced()) return false;
  const std::string& device = context->compiler()->options().device_type.type_string();
  return device == tensorflow::DEVICE_CPU_XLA_JIT ||
         (kHasCuda && device == tensorflow::DEVICE_GPU_XLA_JIT);
}

// An input of an op. The batch size may be dynamic: known only at run time, as after
// tf.boolean_mask. XLA then allocates the largest possible batch; `batch_size_` is the true batch
// size, and the images beyond it are undefined.
class OpInput {
 public:
  // Fails if any axis other than the batch is dynamic.
  static absl::Status read(XlaOpKernelContext* context, int input, const char* name,
                           OpInput* op_input) {
    TF_ASSIGN_OR_RETURN(const xla::Shape shape, context->InputXlaShape(input));
    op_input->op_ = context->Input(input);
    op_input->type_ = shape.element_type();
    for (int axis = 0; axis < static_cast<int>(shape.dimensions().size()); ++axis) {
      op_input->shape_.AddDim(shape.dimensions(axis));
      if (!shape.is_dynamic_dimension(axis)) continue;
      if (axis != 0 || shape.dimensions().size() != 4) {
        return Unimplemented(
            "Under XLA a box convolution may have a dynamic batch size (as after "
            "tf.boolean_mask), but no other dynamic axis. Got `",
            name, "` of shape ", shape.ToString(),
            ". Give the axis a fixed size, or do not compile this function with XLA.");
      }
      op_input->batch_size_ = xla::GetDimensionSize(op_input->op_, axis);
      op_input->op_ = xla::RemoveDynamicDimension(op_input->op_, axis);
    }
    return absl::OkStatus();
  }

  xla::XlaOp op() const { return op_; }
  xla::PrimitiveType type() const { return type_; }
  const TensorShape& shape() const { return shape_; }

  // The input with zeros beyond the true batch size.
  xla::XlaOp masked() const {
    if (!batch_size_.valid()) return op_;
    const xla::Shape indices = xla::ShapeUtil::MakeShape(xla::S32, shape_.dim_sizes());
    return xla::Select(xla::Lt(xla::Iota(op_.builder(), indices, 0), batch_size_), op_,
                       xla::ZerosLike(op_));
  }

  // Returns `result` with the true batch size of this input.
  xla::XlaOp with_batch_size(xla::XlaOp result) const {
    return batch_size_.valid() ? xla::SetDimensionSize(result, batch_size_, 0) : result;
  }

 private:
  xla::XlaOp op_, batch_size_;
  xla::PrimitiveType type_;
  TensorShape shape_;
};

xla::Shape row_major(xla::PrimitiveType type, const TensorShape& shape) {
  return xla::ShapeUtil::MakeShapeWithDescendingLayout(type, shape.dim_sizes());
}

xla::Shape row_major(const OpInput& op_input) {
  return row_major(op_input.type(), op_input.shape());
}

std::string data_format_text(Layout layout) {
  return layout == Layout::kChannelsFirst ? "data_format = \"NCHW\"" : "data_format = \"NHWC\"";
}

// The attributes of a handler call as MLIR text.
std::string attributes_text(const BoxConvProblem& p) {
  const char* normalization = p.normalization == Normalization::kNone   ? "none"
                              : p.normalization == Normalization::kArea ? "area"
                                                                        : "valid";
  return absl::StrCat("{strides = array<i64: ", p.stride_y, ", ", p.stride_x,
                      ">, normalization = \"", normalization, "\", ", data_format_text(p.layout),
                      "}");
}

xla::XlaOp call_handler(const char* name, const std::vector<xla::XlaOp>& operands,
                        const std::vector<xla::Shape>& operand_shapes, const xla::Shape& result,
                        const std::string& attributes) {
  return xla::CustomCallWithLayout(operands[0].builder(), name, operands, result, operand_shapes,
                                   attributes, /*has_side_effect=*/false,
                                   /*output_operand_aliasing=*/{}, /*literal=*/nullptr,
                                   xla::CustomCallSchedule::SCHEDULE_NONE,
                                   xla::CustomCallApiVersion::API_VERSION_TYPED_FFI);
}

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
    const xla::XlaOp output =
        has_handler(context)
            ? call_handler(kForward, {input.op(), boxes.op()}, {row_major(input), row_major(boxes)},
                           row_major(input.type(), output_shape_of(problem)),
                           attributes_text(problem))
            : PortableBoxConv(problem, boxes.type(), boxes.op()).forward(input.op(), input.type());
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
    const xla::XlaOp x = input.masked(), grad = output_grad.masked();
    xla::XlaOp input_grad, boxes_grad;
    if (has_handler(context)) {
      const xla::Shape result =
          xla::ShapeUtil::MakeTupleShape({row_major(input), row_major(boxes)});
      const xla::XlaOp both =
          call_handler(kBackward, {x, boxes.op(), grad},
                       {row_major(input), row_major(boxes), row_major(output_grad)}, result,
                       attributes_text(problem));
      input_grad = xla::GetTupleElement(both, 0);
      boxes_grad = xla::GetTupleElement(both, 1);
    } else {
      std::tie(input_grad, boxes_grad) =
          PortableBoxConv(problem, boxes.type(), boxes.op()).backward(x, grad, input.type());
    }
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
            ? call_handler(kIntegralImage, {input.op()}, {row_major(input)}, result,
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
