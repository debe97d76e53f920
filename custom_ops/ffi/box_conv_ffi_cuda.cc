// Handlers of box convolution and its gradient on a CUDA device. All is queued on XLA's stream.
#include "core/box_conv_cuda.h"
#include "ffi/bindings.h"
#include "ffi/box_conv_ffi.h"
#include "ffi/cuda_ffi.h"
#include "ffi/ffi_problem.h"
#include "xla/ffi/api/ffi.h"

namespace boxconv {
namespace ffi {
namespace {

using xla::ffi::Result;
using xla::ffi::ScratchAllocator;

Error forward(AnyBuffer input, AnyBuffer boxes, Result<AnyBuffer> output,
              Span<const std::int64_t> strides, std::string_view normalization,
              std::string_view data_format, void* stream, ScratchAllocator scratch) {
  BoxConvProblems all;
  BOXCONV_RETURN_IF_ERROR(
      read_forward(input, boxes, *output, strides, normalization, data_format, &all));
  if (output->element_count() == 0) return Error::Success();
  return with_box_types(input, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TBox = typename decltype(types)::Other;
    void* workspace = nullptr;
    BOXCONV_RETURN_IF_ERROR(allocate_workspace(&scratch, box_conv_forward_cuda_workspace<T, TBox>,
                                               all.each, &workspace));
    for (Index i = 0; i < all.count; ++i) {
      BOXCONV_RETURN_IF_ERROR(to_ffi(box_conv_forward_cuda(
          all.each, static_cast<const T*>(input.untyped_data()) + i * all.each.input_size(),
          static_cast<const TBox*>(boxes.untyped_data()) + i * all.each.boxes_size(),
          static_cast<T*>(output->untyped_data()) + i * all.each.output_size(), workspace,
          stream)));
    }
    return Error::Success();
  });
}

Error backward(AnyBuffer input, AnyBuffer boxes, AnyBuffer output_grad,
               Result<AnyBuffer> input_grad, Result<AnyBuffer> boxes_grad,
               Span<const std::int64_t> strides, std::string_view normalization,
               std::string_view data_format, void* stream, ScratchAllocator scratch) {
  BoxConvProblems all;
  BOXCONV_RETURN_IF_ERROR(read_backward(input, boxes, output_grad, *input_grad, *boxes_grad,
                                        strides, normalization, data_format, &all));
  if (all.count == 0) return Error::Success();
  return with_box_types(input, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TBox = typename decltype(types)::Other;
    void* workspace = nullptr;
    BOXCONV_RETURN_IF_ERROR(allocate_workspace(&scratch, box_conv_backward_cuda_workspace<T, TBox>,
                                               all.each, &workspace));
    for (Index i = 0; i < all.count; ++i) {
      BOXCONV_RETURN_IF_ERROR(to_ffi(box_conv_backward_cuda(
          all.each, static_cast<const T*>(input.untyped_data()) + i * all.each.input_size(),
          static_cast<const TBox*>(boxes.untyped_data()) + i * all.each.boxes_size(),
          static_cast<const T*>(output_grad.untyped_data()) + i * all.each.output_size(),
          static_cast<T*>(input_grad->untyped_data()) + i * all.each.input_size(),
          static_cast<TBox*>(boxes_grad->untyped_data()) + i * all.each.boxes_size(), workspace,
          stream)));
    }
    return Error::Success();
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
