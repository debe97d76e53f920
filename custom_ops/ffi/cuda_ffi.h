// What the CUDA handlers share: XLA's stream and memory in core's terms.
#ifndef BOXCONV_FFI_CUDA_FFI_H_
#define BOXCONV_FFI_CUDA_FFI_H_

#include <cstddef>
#include <cstdint>

#include "core/box_conv_cuda.h"
#include "ffi/ffi_problem.h"
#include "xla/ffi/api/ffi.h"

namespace boxconv {
namespace ffi {

// A cudaStream_t: core takes it as a plain pointer, so that no header of CUDA's is needed.
using CudaStream = xla::ffi::PlatformStream<void*>;

inline Error to_ffi(const CudaStatus& status) {
  if (status.ok()) return Error::Success();
  return Error::Internal(std::string("box convolution on the GPU: ") + status.error());
}

// As much memory as size_of(problem, &bytes) says. XLA takes it back, for what is queued later, as
// soon as `scratch` dies.
template <typename Problem>
Error allocate_workspace(xla::ffi::ScratchAllocator* scratch,
                         CudaStatus (*size_of)(const Problem&, std::size_t*),
                         const Problem& problem, void** workspace) {
  constexpr std::size_t kAlignment = 256;  // more than XLA can be asked for
  *workspace = nullptr;
  std::size_t bytes = 0;
  BOXCONV_RETURN_IF_ERROR(to_ffi(size_of(problem, &bytes)));
  if (bytes == 0) return Error::Success();
  const auto memory = scratch->Allocate(bytes + kAlignment);
  if (!memory.has_value()) {
    return Error(xla::ffi::ErrorCode::kResourceExhausted,
                 "no device memory for a workspace of " + std::to_string(bytes) + " bytes");
  }
  const auto begin = reinterpret_cast<std::uintptr_t>(*memory);
  *workspace = reinterpret_cast<void*>((begin + kAlignment - 1) / kAlignment * kAlignment);
  return Error::Success();
}

}  // namespace ffi
}  // namespace boxconv

#endif  // BOXCONV_FFI_CUDA_FFI_H_
