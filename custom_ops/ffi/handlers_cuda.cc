// The handlers on GPUs. They queue core's kernels on XLA's stream.
#include "core/cuda/box_conv.h"
#include "ffi/bindings.h"
#include "ffi/cuda_workspace.h"
#include "ffi/handlers.h"
#include "ffi/problem.h"
#include "xla/ffi/api/ffi.h"

namespace boxconv {
namespace ffi {
namespace {

using xla::ffi::Result;
using xla::ffi::ScratchAllocator;

Error forward(AnyBuffer input, AnyBuffer boxes, Result<AnyBuffer> output,
              Span<const std::int64_t> strides, std::string_view normalization,
              std::string_view data_format, void* stream, ScratchAllocator scratch) {
  BoxConvProblems problems;
  BOXCONV_RETURN_IF_ERROR(
      read_forward(input, boxes, *output, strides, normalization, data_format, &problems));
  if (output->element_count() == 0) return Error::Success();
  return with_box_types(input, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TBox = typename decltype(types)::Box;
    void* workspace = nullptr;
    BOXCONV_RETURN_IF_ERROR(allocate_workspace(&scratch, cuda::box_conv_forward_workspace<T, TBox>,
                                               problems.problem, &workspace));
    for (Index i = 0; i < problems.count; ++i) {
      BOXCONV_RETURN_IF_ERROR(to_ffi(cuda::box_conv_forward<T, TBox>(
          problems.problem, problems.input<T>(input, i), problems.boxes<TBox>(boxes, i),
          problems.output<T>(*output, i), workspace, stream)));
    }
    return Error::Success();
  });
}

Error backward(AnyBuffer input, AnyBuffer boxes, AnyBuffer output_grad,
               Result<AnyBuffer> input_grad, Result<AnyBuffer> boxes_grad,
               Span<const std::int64_t> strides, std::string_view normalization,
               std::string_view data_format, void* stream, ScratchAllocator scratch) {
  BoxConvProblems problems;
  BOXCONV_RETURN_IF_ERROR(read_backward(input, boxes, output_grad, *input_grad, *boxes_grad,
                                        strides, normalization, data_format, &problems));
  if (problems.count == 0) return Error::Success();
  return with_box_types(input, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TBox = typename decltype(types)::Box;
    void* workspace = nullptr;
    BOXCONV_RETURN_IF_ERROR(allocate_workspace(&scratch, cuda::box_conv_backward_workspace<T, TBox>,
                                               problems.problem, &workspace));
    for (Index i = 0; i < problems.count; ++i) {
      BOXCONV_RETURN_IF_ERROR(to_ffi(cuda::box_conv_backward<T, TBox>(
          problems.problem, problems.input<T>(input, i), problems.boxes<TBox>(boxes, i),
          problems.output<T>(output_grad, i), problems.input<T>(*input_grad, i),
          problems.boxes<TBox>(*boxes_grad, i), workspace, stream)));
    }
    return Error::Success();
  });
}

Error integral_image(AnyBuffer input, Result<AnyBuffer> table, std::string_view data_format,
                     void* stream, ScratchAllocator scratch) {
  IntegralImageProblem problem;
  BOXCONV_RETURN_IF_ERROR(read_integral_image(input, *table, data_format, &problem));
  return with_table_types(input, *table, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TTable = typename decltype(types)::Table;
    void* workspace = nullptr;
    BOXCONV_RETURN_IF_ERROR(allocate_workspace(&scratch, cuda::integral_image_workspace<T, TTable>,
                                               problem, &workspace));
    return to_ffi(cuda::integral_image(problem, static_cast<const T*>(input.untyped_data()),
                                       static_cast<TTable*>(table->untyped_data()), workspace,
                                       stream));
  });
}

}  // namespace
}  // namespace ffi
}  // namespace boxconv

XLA_FFI_DEFINE_HANDLER_SYMBOL(tf_boxconv_forward_cuda, boxconv::ffi::forward,
                              boxconv::ffi::forward_binding()
                                  .Ctx<boxconv::ffi::CudaStream>()
                                  .Ctx<xla::ffi::ScratchAllocator>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(tf_boxconv_backward_cuda, boxconv::ffi::backward,
                              boxconv::ffi::backward_binding()
                                  .Ctx<boxconv::ffi::CudaStream>()
                                  .Ctx<xla::ffi::ScratchAllocator>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(tf_boxconv_integral_image_cuda, boxconv::ffi::integral_image,
                              boxconv::ffi::integral_image_binding()
                                  .Ctx<boxconv::ffi::CudaStream>()
                                  .Ctx<xla::ffi::ScratchAllocator>());
