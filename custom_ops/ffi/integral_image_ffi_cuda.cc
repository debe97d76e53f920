// Handler of the integral image on a CUDA device.
#include "core/box_conv_cuda.h"
#include "ffi/bindings.h"
#include "ffi/box_conv_ffi.h"
#include "ffi/cuda_ffi.h"
#include "ffi/ffi_problem.h"
#include "xla/ffi/api/ffi.h"

namespace boxconv {
namespace ffi {
namespace {

Error table_of(AnyBuffer input, xla::ffi::Result<AnyBuffer> table, std::string_view data_format,
               void* stream, xla::ffi::ScratchAllocator scratch) {
  IntegralImageProblem problem;
  BOXCONV_RETURN_IF_ERROR(read_integral_image(input, *table, data_format, &problem));
  return with_table_types(input, *table, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TTable = typename decltype(types)::Other;
    void* workspace = nullptr;
    BOXCONV_RETURN_IF_ERROR(allocate_workspace(&scratch, integral_image_cuda_workspace<T, TTable>,
                                               problem, &workspace));
    return to_ffi(integral_image_cuda(problem, static_cast<const T*>(input.untyped_data()),
                                      static_cast<TTable*>(table->untyped_data()), workspace,
                                      stream));
  });
}

}  // namespace
}  // namespace ffi
}  // namespace boxconv

XLA_FFI_DEFINE_HANDLER_SYMBOL(tf_boxconv_integral_image_cuda, boxconv::ffi::table_of,
                              boxconv::ffi::integral_image_binding()
                                  .Ctx<boxconv::ffi::CudaStream>()
                                  .Ctx<xla::ffi::ScratchAllocator>());
