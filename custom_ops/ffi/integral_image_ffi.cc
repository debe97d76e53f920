// Handler of the integral image on the CPU.
#include "core/box_conv.h"
#include "core/huge_pages.h"
#include "ffi/bindings.h"
#include "ffi/box_conv_ffi.h"
#include "ffi/ffi_problem.h"
#include "ffi/pool_parallel_for.h"
#include "xla/ffi/api/ffi.h"

namespace boxconv {
namespace ffi {
namespace {

Error table_of(AnyBuffer input, xla::ffi::Result<AnyBuffer> table, std::string_view data_format,
               xla::ffi::ThreadPool pool) {
  IntegralImageProblem problem;
  BOXCONV_RETURN_IF_ERROR(read_integral_image(input, *table, data_format, &problem));
  advise_huge_pages(table->untyped_data(), table->size_bytes());
  return with_table_types(input, *table, [&](auto types) {
    using T = typename decltype(types)::Image;
    using TTable = typename decltype(types)::Other;
    return to_ffi(integral_image(problem, static_cast<const T*>(input.untyped_data()),
                                 static_cast<TTable*>(table->untyped_data()),
                                 pool_parallel_for(&pool)));
  });
}

}  // namespace
}  // namespace ffi
}  // namespace boxconv

XLA_FFI_DEFINE_HANDLER_SYMBOL(tf_boxconv_integral_image_host, boxconv::ffi::table_of,
                              boxconv::ffi::integral_image_binding().Ctx<xla::ffi::ThreadPool>());
