// Shared by the XLA lowerings: inputs of ops, calls of the handlers in ffi/, and box convolutions.
#ifndef BOXCONV_TENSORFLOW_BOX_CONV_XLA_COMMON_H_
#define BOXCONV_TENSORFLOW_BOX_CONV_XLA_COMMON_H_

#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tensorflow/box_conv_attributes.h"
#include "tensorflow/box_conv_xla_portable.h"
#include "tensorflow/compiler/tf2xla/xla_compiler.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "tensorflow/compiler/tf2xla/xla_op_registry.h"
#include "tensorflow/kernel_common.h"
#include "xla/ffi/api/c_api.h"
#include "xla/hlo/builder/xla_builder.h"
#include "xla/shape_util.h"

namespace xla::ffi {
const XLA_FFI_Api* GetXlaFfiApi();  // in libtensorflow_cc
}

namespace boxconv {

using tensorflow::TensorShape;
using tensorflow::XlaOpKernelContext;

// The names of the handlers that exist on all devices with handlers.
constexpr char kForward[] = "tf_boxconv_forward", kBackward[] = "tf_boxconv_backward",
               kIntegralImage[] = "tf_boxconv_integral_image";

#ifdef BOXCONV_HAS_CUDA
constexpr bool kHasCuda = true;
#else
constexpr bool kHasCuda = false;
#endif

// Registers a handler with XLA under a name, for a platform: "Host" or "CUDA".
inline bool register_handler(std::string_view name, std::string_view platform,
                             XLA_FFI_Handler* handler) {
  XLA_FFI_Handler_Register_Args args{};
  args.struct_size = XLA_FFI_Handler_Register_Args_STRUCT_SIZE;
  args.name = {name.data(), name.size()};
  args.platform = {platform.data(), platform.size()};
  args.bundle.execute = handler;
  return xla::ffi::GetXlaFfiApi()->XLA_FFI_Handler_Register(&args) == nullptr;
}

inline bool portable_is_forced() {
  static const bool forced = [] {
    const char* choice = std::getenv("TF_BOXCONV_XLA");
    return choice != nullptr && std::strcmp(choice, "portable") == 0;
  }();
  return forced;
}

inline bool compiles_for(XlaOpKernelContext* context, const char* device) {
  return context->compiler()->options().device_type.type_string() == device;
}

inline bool has_cpu_handler(XlaOpKernelContext* context) {
  return !portable_is_forced() && compiles_for(context, tensorflow::DEVICE_CPU_XLA_JIT);
}

inline bool has_handler(XlaOpKernelContext* context) {
  return has_cpu_handler(context) || (kHasCuda && !portable_is_forced() &&
                                      compiles_for(context, tensorflow::DEVICE_GPU_XLA_JIT));
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
        return tensorflow::errors::Unimplemented(
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

inline xla::Shape row_major(xla::PrimitiveType type, const TensorShape& shape) {
  return xla::ShapeUtil::MakeShapeWithDescendingLayout(type, shape.dim_sizes());
}

inline xla::Shape row_major(const OpInput& op_input) {
  return row_major(op_input.type(), op_input.shape());
}

inline std::string data_format_text(Layout layout) {
  return layout == Layout::kChannelsFirst ? "data_format = \"NCHW\"" : "data_format = \"NHWC\"";
}

// The attributes of a handler call as MLIR text.
inline std::string attributes_text(const BoxConvProblem& p) {
  const char* normalization = p.normalization == Normalization::kNone   ? "none"
                              : p.normalization == Normalization::kArea ? "area"
                                                                        : "valid";
  return absl::StrCat("{strides = array<i64: ", p.stride_y, ", ", p.stride_x,
                      ">, normalization = \"", normalization, "\", ", data_format_text(p.layout),
                      "}");
}

// All arrays are row-major.
inline xla::XlaOp call_handler(const char* name, const std::vector<xla::XlaOp>& operands,
                               const xla::Shape& result, const std::string& attributes) {
  xla::XlaBuilder* builder = operands[0].builder();
  return builder->ReportErrorOrReturn([&]() -> absl::StatusOr<xla::XlaOp> {
    std::vector<xla::Shape> shapes;
    for (const xla::XlaOp operand : operands) {
      TF_ASSIGN_OR_RETURN(const xla::Shape shape, builder->GetShape(operand));
      shapes.push_back(
          xla::ShapeUtil::MakeShapeWithDescendingLayout(shape.element_type(), shape.dimensions()));
    }
    return xla::CustomCallWithLayout(builder, name, operands, result, shapes, attributes,
                                     /*has_side_effect=*/false, /*output_operand_aliasing=*/{},
                                     /*literal=*/nullptr, xla::CustomCallSchedule::SCHEDULE_NONE,
                                     xla::CustomCallApiVersion::API_VERSION_TYPED_FFI);
  });
}

// The responses: a call of a handler, or XLA's own operations on devices without one. `input` and
// `boxes` tell the shapes and types; `x` is the value of the input.
inline xla::XlaOp box_conv(XlaOpKernelContext* context, const BoxConvProblem& problem,
                           const OpInput& input, const OpInput& boxes, xla::XlaOp x) {
  if (!has_handler(context)) {
    return PortableBoxConv(problem, boxes.type(), boxes.op()).forward(x, input.type());
  }
  return call_handler(kForward, {x, boxes.op()}, row_major(input.type(), output_shape_of(problem)),
                      attributes_text(problem));
}

// The gradients of the input and of the boxes.
inline std::pair<xla::XlaOp, xla::XlaOp> box_conv_gradients(XlaOpKernelContext* context,
                                                            const BoxConvProblem& problem,
                                                            const OpInput& input,
                                                            const OpInput& boxes, xla::XlaOp x,
                                                            xla::XlaOp responses_grad) {
  if (!has_handler(context)) {
    return PortableBoxConv(problem, boxes.type(), boxes.op())
        .backward(x, responses_grad, input.type());
  }
  const xla::XlaOp both =
      call_handler(kBackward, {x, boxes.op(), responses_grad},
                   xla::ShapeUtil::MakeTupleShape({row_major(input), row_major(boxes)}),
                   attributes_text(problem));
  return {xla::GetTupleElement(both, 0), xla::GetTupleElement(both, 1)};
}

}  // namespace boxconv

#endif  // BOXCONV_TENSORFLOW_BOX_CONV_XLA_COMMON_H_
