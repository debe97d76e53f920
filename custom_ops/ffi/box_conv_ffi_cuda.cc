// Handlers of box convolution and its gradient on a CUDA device. All is queued on XLA's stream.
#include "core/box_conv_cuda.h"
#include "ffi/box_conv_ffi.h"
#include "ffi/cuda_ffi.h"
#include "ffi/ffi_problem.h"
#include "xla/ffi/api/ffi.h"

namespace boxconv {
namespace ffi {
namespace {

using xla::ffi::Result;
using xla::ffi::ScratchAllocator;

Error forward(AnyBuffer input, AnyBuffer boxes, Result<AnyBuffer> output, void* stream,
              ScratchAllocator scratch, Span<const std::int64_t> strides,
              std::string_view normalization, std::string_view data_format) {
  BoxConvProblems all;
  BOXCONV_RETURN_IF_ERROR(
      read_forward(input, boxes, *output, strides, normalization, data_format, &all));
  if (output->element_count() == 0) return Error::Success();
  return with_box_types(input, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TBox = typename decltype(types)::Other;
    std::size_t bytes = 0;
    BOXCONV_RETURN_IF_ERROR(to_ffi(box_conv_forward_cuda_workspace<T, TBox>(all.each, &bytes)));
    void* workspace = nullptr;
    BOXCONV_RETURN_IF_ERROR(allocate_workspace(&scratch, bytes, &workspace));
    for (Index i = 0; i < all.count; ++i) {
      BOXCONV_RETURN_IF_ERROR(to_ffi(box_conv_forward_cuda(
          all.each, static_cast<const T*>(input.untyped_data()) + i * all.input_size(),
          static_cast<const TBox*>(boxes.untyped_data()) + i * all.boxes_size(),
          static_cast<T*>(output->untyped_data()) + i * all.output_size(), workspace, stream)));
    }
    return Error::Success();
  });
}

Error backward(AnyBuffer input, AnyBuffer boxes, AnyBuffer output_grad,
               Result<AnyBuffer> input_grad, Result<AnyBuffer> boxes_grad, void* stream,
               ScratchAllocator scratch, Span<const std::int64_t> strides,
               std::string_view normalization, std::string_view data_format) {
  BoxConvProblems all;
  BOXCONV_RETURN_IF_ERROR(read_backward(input, boxes, output_grad, *input_grad, *boxes_grad,
                                        strides, normalization, data_format, &all));
  if (all.count == 0) return Error::Success();
  return with_box_types(input, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TBox = typename decltype(types)::Other;
    std::size_t bytes = 0;
    BOXCONV_RETURN_IF_ERROR(to_ffi(box_conv_backward_cuda_workspace<T, TBox>(all.each, &bytes)));
    void* workspace = nullptr;
    BOXCONV_RETURN_IF_ERROR(allocate_workspace(&scratch, bytes, &workspace));
    for (Index i = 0; i < all.count; ++i) {
      BOXCONV_RETURN_IF_ERROR(to_ffi(box_conv_backward_cuda(
          all.each, static_cast<const T*>(input.untyped_data()) + i * all.input_size(),
          static_cast<const TBox*>(boxes.untyped_data()) + i * all.boxes_size(),
          static_cast<const T*>(output_grad.untyped_data()) + i * all.output_size(),
          static_cast<T*>(input_grad->untyped_data()) + i * all.input_size(),
          static_cast<TBox*>(boxes_grad->untyped_data()) + i * all.boxes_size(), workspace,
          stream)));
    }
    return Error::Success();
  });
}

}  // namespace
}  // namespace ffi
}  // namespace boxconv

XLA_FFI_DEFINE_HANDLER_SYMBOL(tf_boxconv_forward_cuda, boxconv::ffi::forward,
                              xla::ffi::Ffi::Bind()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::AnyBuffer>()
                                  .Ctx<boxconv::ffi::CudaStream>()
                                  .Ctx<xla::ffi::ScratchAllocator>()
                                  .Attr<xla::ffi::Span<const std::int64_t>>("strides")
                                  .Attr<std::string_view>("normalization")
                                  .Attr<std::string_view>("data_format"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(tf_boxconv_backward_cuda, boxconv::ffi::backward,
                              xla::ffi::Ffi::Bind()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::AnyBuffer>()
                                  .Ctx<boxconv::ffi::CudaStream>()
                                  .Ctx<xla::ffi::ScratchAllocator>()
                                  .Attr<xla::ffi::Span<const std::int64_t>>("strides")
                                  .Attr<std::string_view>("normalization")
                                  .Attr<std::string_view>("data_format"));
