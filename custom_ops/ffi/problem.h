// Checks the arguments of a handler and converts them to core's types. Every error names the
// argument.
#ifndef BOXCONV_FFI_PROBLEM_H_
#define BOXCONV_FFI_PROBLEM_H_

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/dispatch.h"
#include "core/base/problem.h"
#include "ffi/call_frame.h"

namespace boxconv {
namespace ffi {

using Dims = std::vector<Index>;

inline Dims dims_of(const Buffer& buffer) {
  return Dims(buffer.dims().begin(), buffer.dims().end());
}

inline std::string text(const Dims& dims) {
  std::string text = "[";
  for (std::size_t i = 0; i < dims.size(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(dims[i]);
  }
  return text + "]";
}

inline std::string text(XLA_FFI_DataType type) {
  switch (type) {
    case XLA_FFI_DataType_F16:
      return "float16";
    case XLA_FFI_DataType_BF16:
      return "bfloat16";
    case XLA_FFI_DataType_F32:
      return "float32";
    case XLA_FFI_DataType_F64:
      return "float64";
    default:
      return "XLA's type " + std::to_string(static_cast<int>(type));
  }
}

// `count` problems of the same shape, each with its own boxes.
struct BoxConvProblems {
  BoxConvProblem problem;  // the shape and the options of each problem
  Dims leading;            // the sizes of the additional leading axes, the same for all arrays
  Index count = 1;         // their product

  Dims output_dims() const { return output_dims(problem.out_channels()); }

  // The same with another number of channels.
  Dims output_dims(Index channels) const {
    const Index height = problem.out_height(), width = problem.out_width();
    return problem.layout == Layout::kChannelsFirst
               ? with_leading_axes({problem.batch, channels, height, width})
               : with_leading_axes({problem.batch, height, width, channels});
  }

  // The additional leading axes and then `sizes`.
  Dims with_leading_axes(std::initializer_list<Index> sizes) const {
    Dims dims(leading.begin(), leading.end());  // a copy would need the C++ library of GCC 11
    dims.insert(dims.end(), sizes);
    return dims;
  }

  // The array of problem i in a buffer of all problems. Gradients have the shapes of their arrays,
  // so input() also serves for input gradients, and so on.
  template <typename T>
  T* input(const Buffer& buffer, Index i) const {
    return static_cast<T*>(buffer.data()) + i * problem.input_size();
  }
  template <typename TBox>
  TBox* boxes(const Buffer& buffer, Index i) const {
    return static_cast<TBox*>(buffer.data()) + i * problem.boxes_size();
  }
  template <typename T>
  T* output(const Buffer& buffer, Index i) const {
    return static_cast<T*>(buffer.data()) + i * problem.output_size();
  }
};

// `box_conv.count` problems of the same shape, each with its own boxes, kernel and bias.
struct SeparableBoxConvProblems {
  BoxConvProblems box_conv;
  Index filters = 0;

  SeparableBoxConvProblem problem() const { return {box_conv.problem, filters}; }
  Dims output_dims() const { return box_conv.output_dims(filters); }
  Dims kernel_dims() const {
    return box_conv.with_leading_axes({box_conv.problem.out_channels(), filters});
  }
  Dims bias_dims() const { return box_conv.with_leading_axes({filters}); }

  // As in BoxConvProblems.
  template <typename T>
  T* output(const Buffer& buffer, Index i) const {
    return static_cast<T*>(buffer.data()) + i * problem().output_size();
  }
  template <typename T>
  T* kernel(const Buffer& buffer, Index i) const {
    return static_cast<T*>(buffer.data()) + i * problem().kernel_size();
  }
  template <typename T>
  T* bias(const Buffer& buffer, Index i) const {
    return static_cast<T*>(buffer.data()) + i * filters;
  }
};

inline Error read_layout(const CallFrame& frame, Layout* layout) {
  std::string_view data_format;
  BOXCONV_RETURN_IF_ERROR(frame.read_attribute("data_format", &data_format));
  if (parse_layout(data_format, layout)) return Error::success();
  return Error::invalid_argument("`data_format` must be NHWC or NCHW, got " +
                                 std::string(data_format));
}

inline Error read_normalization(const CallFrame& frame, Normalization* normalization) {
  std::string_view name;
  BOXCONV_RETURN_IF_ERROR(frame.read_attribute("normalization", &name));
  if (parse_normalization(name, normalization)) return Error::success();
  return Error::invalid_argument("`normalization` must be none, area or valid, got " +
                                 std::string(name));
}

inline Error read_strides(const CallFrame& frame, BoxConvProblem* problem) {
  Integers strides;
  BOXCONV_RETURN_IF_ERROR(frame.read_attribute("strides", &strides));
  constexpr std::int64_t kLargest = std::numeric_limits<std::int32_t>::max();
  if (strides.size() != 2 || strides[0] < 1 || strides[1] < 1 || strides[0] > kLargest ||
      strides[1] > kLargest) {
    return Error::invalid_argument(
        "`strides` must be two positive integers (stride_y, stride_x) below 2^31, got " +
        text(Dims(strides.begin(), strides.end())));
  }
  problem->stride_y = strides[0];
  problem->stride_x = strides[1];
  return Error::success();
}

// Sets the layout and the sizes of the images in `problem`, and `leading` to the sizes of the axes
// before them.
template <typename Problem>
Error read_image_dims(const Buffer& input, Layout layout, Problem* problem, Dims* leading) {
  const Dims dims = dims_of(input);
  if (dims.size() < 4) {
    return Error::invalid_argument(
        "`input` must have rank 4 or more, [..., N, H, W, C] or "
        "[..., N, C, H, W], got shape " +
        text(dims));
  }
  const auto image_dims = dims.end() - 4;
  *leading = Dims(dims.begin(), image_dims);
  const bool channels_first = layout == Layout::kChannelsFirst;
  problem->layout = layout;
  problem->batch = image_dims[0];
  problem->height = image_dims[channels_first ? 2 : 1];
  problem->width = image_dims[channels_first ? 3 : 2];
  problem->channels = image_dims[channels_first ? 1 : 3];
  return Error::success();
}

inline Index product(const Dims& dims) {
  Index product = 1;
  for (const Index size : dims) product *= size;
  return product;
}

// Reads the shapes and the attributes. The element types are checked by check_types().
inline Error read_problems(const CallFrame& frame, BoxConvProblems* problems) {
  const Buffer input = frame.argument(0), boxes = frame.argument(1);
  BoxConvProblem& problem = problems->problem;
  Layout layout = Layout::kChannelsLast;
  BOXCONV_RETURN_IF_ERROR(read_layout(frame, &layout));
  BOXCONV_RETURN_IF_ERROR(read_normalization(frame, &problem.normalization));
  BOXCONV_RETURN_IF_ERROR(read_strides(frame, &problem));
  BOXCONV_RETURN_IF_ERROR(read_image_dims(input, layout, &problem, &problems->leading));
  problems->count = product(problems->leading);
  const Dims dims = dims_of(boxes);
  if (dims.size() < 3 || dims.back() != 4) {
    return Error::invalid_argument("`boxes` must have shape [..., C, M, 4], got " + text(dims));
  }
  const auto box_dims = dims.end() - 3;
  if (Dims(dims.begin(), box_dims) != problems->leading) {
    return Error::invalid_argument("`boxes` must have the leading axes of `input`, got boxes " +
                                   text(dims) + " and input " + text(dims_of(input)));
  }
  if (box_dims[0] != problem.channels) {
    return Error::invalid_argument("`boxes` must have one row per channel of `input`, got boxes " +
                                   text(dims) + " and input " + text(dims_of(input)));
  }
  problem.boxes_per_channel = box_dims[1];
  return Error::success();
}

inline Error check_buffer(const char* name, const Buffer& buffer, XLA_FFI_DataType type,
                          const Dims& dims) {
  if (buffer.type() != type) {
    return Error::invalid_argument("`" + std::string(name) + "` must be " + text(type) + ", got " +
                                   text(buffer.type()));
  }
  if (dims_of(buffer) != dims) {
    return Error::invalid_argument("`" + std::string(name) + "` must have shape " + text(dims) +
                                   ", got " + text(dims_of(buffer)));
  }
  return Error::success();
}

// Reads the element type of the images.
inline Error read_image_type(const Buffer& input, boxconv::DataType* type) {
  switch (input.type()) {
    case XLA_FFI_DataType_F16:
      *type = boxconv::DataType::kFloat16;
      return Error::success();
    case XLA_FFI_DataType_BF16:
      *type = boxconv::DataType::kBFloat16;
      return Error::success();
    case XLA_FFI_DataType_F32:
      *type = boxconv::DataType::kFloat32;
      return Error::success();
    case XLA_FFI_DataType_F64:
      *type = boxconv::DataType::kFloat64;
      return Error::success();
    default:
      return Error::invalid_argument("`input` must be float16, bfloat16, float32 or float64, got " +
                                     text(input.type()));
  }
}

// Returns call(BoxTypes<T, TBox>()) for the type of the images.
template <typename Call>
Error with_box_types(const Buffer& input, const Call& call) {
  boxconv::DataType type;
  BOXCONV_RETURN_IF_ERROR(read_image_type(input, &type));
  return boxconv::with_box_types(type, call);
}

// Returns call(TableTypes<T, TTable>()) for the types of the images and of the table.
template <typename Call>
Error with_table_types(const Buffer& input, const Buffer& table, const Call& call) {
  const bool double_table = table.type() == XLA_FFI_DataType_F64;
  if (!double_table && table.type() != XLA_FFI_DataType_F32) {
    return Error::invalid_argument("`table` must be float32 or float64, got " + text(table.type()));
  }
  boxconv::DataType type;
  BOXCONV_RETURN_IF_ERROR(read_image_type(input, &type));
  return boxconv::with_table_types(type, double_table, call);
}

inline Error check_types(const Buffer& input, const Buffer& boxes) {
  boxconv::DataType type;
  BOXCONV_RETURN_IF_ERROR(read_image_type(input, &type));
  const bool double_boxes = type == boxconv::DataType::kFloat64;
  return check_buffer("boxes", boxes, double_boxes ? XLA_FFI_DataType_F64 : XLA_FFI_DataType_F32,
                      dims_of(boxes));
}

// Reads and checks all arguments of a forward call.
inline Error read_forward(const CallFrame& frame, BoxConvProblems* problems) {
  const Buffer input = frame.argument(0), boxes = frame.argument(1), output = frame.result(0);
  BOXCONV_RETURN_IF_ERROR(read_problems(frame, problems));
  BOXCONV_RETURN_IF_ERROR(check_types(input, boxes));
  return check_buffer("output", output, input.type(), problems->output_dims());
}

// Reads and checks all arguments of a backward call.
inline Error read_backward(const CallFrame& frame, BoxConvProblems* problems) {
  const Buffer input = frame.argument(0), boxes = frame.argument(1);
  const Buffer output_grad = frame.argument(2);
  const Buffer input_grad = frame.result(0), boxes_grad = frame.result(1);
  BOXCONV_RETURN_IF_ERROR(read_problems(frame, problems));
  BOXCONV_RETURN_IF_ERROR(check_types(input, boxes));
  const XLA_FFI_DataType type = input.type();
  BOXCONV_RETURN_IF_ERROR(check_buffer("output_grad", output_grad, type, problems->output_dims()));
  BOXCONV_RETURN_IF_ERROR(check_buffer("input_grad", input_grad, type, dims_of(input)));
  return check_buffer("boxes_grad", boxes_grad, boxes.type(), dims_of(boxes));
}

// Reads the shapes and the attributes, and checks all arguments that a forward and a backward call
// have in common.
inline Error read_separable_problems(const CallFrame& frame, SeparableBoxConvProblems* problems) {
  const Buffer input = frame.argument(0), boxes = frame.argument(1), kernel = frame.argument(2);
  BOXCONV_RETURN_IF_ERROR(read_problems(frame, &problems->box_conv));
  BOXCONV_RETURN_IF_ERROR(check_types(input, boxes));
  const Dims dims = dims_of(kernel);
  if (dims.empty()) {
    return Error::invalid_argument("`kernel` must have shape [..., C * M, filters], got []");
  }
  problems->filters = dims.back();
  return check_buffer("kernel", kernel, input.type(), problems->kernel_dims());
}

// Reads and checks all arguments of a forward call of the separable box convolution.
inline Error read_separable_forward(const CallFrame& frame, SeparableBoxConvProblems* problems) {
  const Buffer bias = frame.argument(3), output = frame.result(0);
  BOXCONV_RETURN_IF_ERROR(read_separable_problems(frame, problems));
  const XLA_FFI_DataType type = frame.argument(0).type();
  BOXCONV_RETURN_IF_ERROR(check_buffer("bias", bias, type, problems->bias_dims()));
  return check_buffer("output", output, type, problems->output_dims());
}

// Reads and checks all arguments of a backward call of the separable box convolution.
inline Error read_separable_backward(const CallFrame& frame, SeparableBoxConvProblems* problems) {
  const Buffer input = frame.argument(0), boxes = frame.argument(1), kernel = frame.argument(2);
  const Buffer output_grad = frame.argument(3);
  const Buffer input_grad = frame.result(0), boxes_grad = frame.result(1);
  const Buffer kernel_grad = frame.result(2), bias_grad = frame.result(3);
  BOXCONV_RETURN_IF_ERROR(read_separable_problems(frame, problems));
  const XLA_FFI_DataType type = input.type();
  BOXCONV_RETURN_IF_ERROR(check_buffer("output_grad", output_grad, type, problems->output_dims()));
  BOXCONV_RETURN_IF_ERROR(check_buffer("input_grad", input_grad, type, dims_of(input)));
  BOXCONV_RETURN_IF_ERROR(check_buffer("boxes_grad", boxes_grad, boxes.type(), dims_of(boxes)));
  BOXCONV_RETURN_IF_ERROR(check_buffer("kernel_grad", kernel_grad, type, dims_of(kernel)));
  return check_buffer("bias_grad", bias_grad, type, problems->bias_dims());
}

// Reads and checks all arguments of an integral image. Leading axes become part of the batch.
inline Error read_integral_image(const CallFrame& frame, IntegralImageProblem* problem) {
  const Buffer input = frame.argument(0), table = frame.result(0);
  Layout layout = Layout::kChannelsLast;
  BOXCONV_RETURN_IF_ERROR(read_layout(frame, &layout));
  Dims leading;
  BOXCONV_RETURN_IF_ERROR(read_image_dims(input, layout, problem, &leading));
  problem->batch *= product(leading);
  Dims dims = dims_of(input);
  const std::size_t height = dims.size() - (layout == Layout::kChannelsFirst ? 2 : 3);
  ++dims[height];
  ++dims[height + 1];
  return check_buffer("table", table, table.type(), dims);
}

}  // namespace ffi
}  // namespace boxconv

#endif  // BOXCONV_FFI_PROBLEM_H_
