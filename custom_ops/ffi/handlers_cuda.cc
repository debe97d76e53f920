// The handlers on GPUs. They queue core's kernels on XLA's stream.
#include "core/cuda/box_conv.h"
#include "ffi/call_frame.h"
#include "ffi/cuda_workspace.h"
#include "ffi/handlers.h"
#include "ffi/problem.h"

namespace boxconv {
namespace ffi {
namespace {

Error forward(const CallFrame& frame) {
  const Buffer input = frame.argument(0), boxes = frame.argument(1);
  const Buffer output = frame.result(0);
  BoxConvProblems problems;
  BOXCONV_RETURN_IF_ERROR(read_forward(frame, &problems));
  if (output.size() == 0) return Error::success();
  void* stream = nullptr;
  BOXCONV_RETURN_IF_ERROR(read_stream(frame, &stream));
  return with_box_types(input, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TBox = typename decltype(types)::Box;
    Workspace workspace(frame);
    BOXCONV_RETURN_IF_ERROR(
        workspace.allocate(cuda::box_conv_forward_workspace<T, TBox>, problems.problem));
    for (Index i = 0; i < problems.count; ++i) {
      BOXCONV_RETURN_IF_ERROR(to_ffi(cuda::box_conv_forward<T, TBox>(
          problems.problem, problems.input<T>(input, i), problems.boxes<TBox>(boxes, i),
          problems.output<T>(output, i), workspace.data(), stream)));
    }
    return Error::success();
  });
}

Error backward(const CallFrame& frame) {
  const Buffer input = frame.argument(0), boxes = frame.argument(1),
               output_grad = frame.argument(2);
  const Buffer input_grad = frame.result(0), boxes_grad = frame.result(1);
  BoxConvProblems problems;
  BOXCONV_RETURN_IF_ERROR(read_backward(frame, &problems));
  if (problems.count == 0) return Error::success();
  void* stream = nullptr;
  BOXCONV_RETURN_IF_ERROR(read_stream(frame, &stream));
  return with_box_types(input, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TBox = typename decltype(types)::Box;
    Workspace workspace(frame);
    BOXCONV_RETURN_IF_ERROR(
        workspace.allocate(cuda::box_conv_backward_workspace<T, TBox>, problems.problem));
    for (Index i = 0; i < problems.count; ++i) {
      BOXCONV_RETURN_IF_ERROR(to_ffi(cuda::box_conv_backward<T, TBox>(
          problems.problem, problems.input<T>(input, i), problems.boxes<TBox>(boxes, i),
          problems.output<T>(output_grad, i), problems.input<T>(input_grad, i),
          problems.boxes<TBox>(boxes_grad, i), workspace.data(), stream)));
    }
    return Error::success();
  });
}

Error integral_image(const CallFrame& frame) {
  const Buffer input = frame.argument(0);
  const Buffer table = frame.result(0);
  IntegralImageProblem problem;
  BOXCONV_RETURN_IF_ERROR(read_integral_image(frame, &problem));
  void* stream = nullptr;
  BOXCONV_RETURN_IF_ERROR(read_stream(frame, &stream));
  return with_table_types(input, table, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TTable = typename decltype(types)::Table;
    return to_ffi(cuda::integral_image(problem, static_cast<const T*>(input.data()),
                                       static_cast<TTable*>(table.data()), stream));
  });
}

}  // namespace
}  // namespace ffi
}  // namespace boxconv

XLA_FFI_Error* tf_boxconv_forward_cuda(XLA_FFI_CallFrame* frame) {
  return boxconv::ffi::run_handler(frame, 2, 1, boxconv::ffi::forward);
}

XLA_FFI_Error* tf_boxconv_backward_cuda(XLA_FFI_CallFrame* frame) {
  return boxconv::ffi::run_handler(frame, 3, 2, boxconv::ffi::backward);
}

XLA_FFI_Error* tf_boxconv_integral_image_cuda(XLA_FFI_CallFrame* frame) {
  return boxconv::ffi::run_handler(frame, 1, 1, boxconv::ffi::integral_image);
}
