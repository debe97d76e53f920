// The stream, the workspace and the errors of the CUDA handlers.
#ifndef BOXCONV_FFI_CUDA_WORKSPACE_H_
#define BOXCONV_FFI_CUDA_WORKSPACE_H_

#include <cstddef>
#include <cstdint>

#include "core/cuda/box_conv.h"
#include "ffi/call_frame.h"

namespace boxconv {
namespace ffi {

inline Error to_ffi(const cuda::Status& status) {
  if (status.ok()) return Error::success();
  return Error::internal(std::string("box convolution on the GPU: ") + status.error());
}

// Sets `stream` to the cudaStream_t of the call. It is a plain pointer here, so that no CUDA header
// is needed.
inline Error read_stream(const CallFrame& frame, void** stream) {
  XLA_FFI_Stream_Get_Args args{};
  args.struct_size = XLA_FFI_Stream_Get_Args_STRUCT_SIZE;
  args.ctx = frame.context();
  if (discard(frame.api()->XLA_FFI_Stream_Get(&args), frame.api())) {
    return Error::internal("XLA gave the box convolution no CUDA stream");
  }
  *stream = args.stream;
  return Error::success();
}

// Device memory of a call. XLA frees it with this object, but reuses the memory only for work that
// is queued later.
class Workspace {
 public:
  explicit Workspace(const CallFrame& frame) : api_(frame.api()), context_(frame.context()) {}
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  ~Workspace() {
    if (memory_ == nullptr) return;
    XLA_FFI_DeviceMemory_Free_Args args{};
    args.struct_size = XLA_FFI_DeviceMemory_Free_Args_STRUCT_SIZE;
    args.ctx = context_;
    args.size = bytes_;
    args.data = memory_;
    discard(api_->XLA_FFI_DeviceMemory_Free(&args), api_);
  }

  // Allocates the number of bytes that workspace_size(problem, &bytes) sets.
  template <typename Problem>
  Error allocate(cuda::Status (*workspace_size)(const Problem&, std::size_t*),
                 const Problem& problem) {
    std::size_t bytes = 0;
    BOXCONV_RETURN_IF_ERROR(to_ffi(workspace_size(problem, &bytes)));
    if (bytes == 0) return Error::success();
    bytes_ = bytes + kAlignment;
    XLA_FFI_DeviceMemory_Allocate_Args args{};
    args.struct_size = XLA_FFI_DeviceMemory_Allocate_Args_STRUCT_SIZE;
    args.ctx = context_;
    args.size = bytes_;
    args.alignment = 1;
    if (discard(api_->XLA_FFI_DeviceMemory_Allocate(&args), api_)) {
      return Error::out_of_memory("no device memory for a workspace of " + std::to_string(bytes) +
                                  " bytes");
    }
    memory_ = args.data;
    return Error::success();
  }

  // Null if nothing was allocated.
  void* data() const {
    if (memory_ == nullptr) return nullptr;
    const auto begin = reinterpret_cast<std::uintptr_t>(memory_);
    return reinterpret_cast<void*>((begin + kAlignment - 1) / kAlignment * kAlignment);
  }

 private:
  static constexpr std::size_t kAlignment = 256;  // XLA guarantees less

  const XLA_FFI_Api* api_;
  XLA_FFI_ExecutionContext* context_;
  void* memory_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace ffi
}  // namespace boxconv

#endif  // BOXCONV_FFI_CUDA_WORKSPACE_H_
