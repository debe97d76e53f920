// The stream, the workspace and the errors of the CUDA handlers.
#ifndef BOXCONV_FFI_CUDA_WORKSPACE_H_
#define BOXCONV_FFI_CUDA_WORKSPACE_H_

#include <cstddef>
#include <cstdint>

#include "core/cuda/box_conv.h"
#include "ffi/problem.h"
#include "xla/ffi/api/ffi.h"

namespace boxconv {
namespace ffi {

// A cudaStream_t. It is passed as a plain pointer, so that no CUDA header is needed here.
using CudaStream = xla::ffi::PlatformStream<void*>;

inline Error to_ffi(const cuda::Status& status) {
  if (status.ok()) return Error::Success();
  return Error::Internal(std::string("box convolution on the GPU: ") + status.error());
}

// Allocates a workspace of the size that workspace_size(problem, &bytes) sets. XLA frees it when
// `scratch` is destroyed, but reuses the memory only for work that is queued later.
template <typename Problem>
Error allocate_workspace(xla::ffi::ScratchAllocator* scratch,
                         cuda::Status (*workspace_size)(const Problem&, std::size_t*),
                         const Problem& problem, void** workspace) {
  constexpr std::size_t kAlignment = 256;  // XLA guarantees less
  *workspace = nullptr;
  std::size_t bytes = 0;
  BOXCONV_RETURN_IF_ERROR(to_ffi(workspace_size(problem, &bytes)));
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

#endif  // BOXCONV_FFI_CUDA_WORKSPACE_H_
