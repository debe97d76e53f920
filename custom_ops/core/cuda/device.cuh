// The current CUDA device: its limits, and kernel launches on a stream. The first error is kept,
// and after an error nothing else is launched.
#ifndef BOXCONV_CORE_CUDA_DEVICE_CUH_
#define BOXCONV_CORE_CUDA_DEVICE_CUH_

#include <cuda_runtime.h>

#include <cstddef>

#include "core/cuda/box_conv.h"
#include "core/cuda/box_conv_plan.h"

namespace boxconv {
namespace cuda {

class Device {
 public:
  explicit Device(void* stream = nullptr) : stream_(static_cast<cudaStream_t>(stream)) {
    int processors = 0, cache_bytes = 0;
    keep(cudaGetDevice(&device_));
    read(&limits_.shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin);
    read(&processors, cudaDevAttrMultiProcessorCount);
    read(&cache_bytes, cudaDevAttrL2CacheSize);
    if (!ok()) return;
    limits_.resident_blocks = 2 * processors;  // what their registers allow
    // The rest of the cache is for the input and the output.
    if (cache_bytes / 2 > limits_.chunk_bytes) limits_.chunk_bytes = cache_bytes / 2;
  }

  bool ok() const { return error_ == cudaSuccess; }
  Status status() const { return ok() ? Status() : Status(cudaGetErrorString(error_)); }
  const GpuLimits& limits() const { return limits_; }

  template <auto kKernel, typename... Arguments>
  void launch(Index blocks, int threads, int shared_bytes, const Arguments&... arguments) {
    if (!ok() || blocks == 0) return;
    // More than 48 KiB must be asked for. Other threads may launch the same kernel with more shared
    // memory than this launch has, so all of them ask for the same.
    if (shared_bytes > kSharedBytes) {
      keep(cudaFuncSetAttribute(kKernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                limits_.shared_bytes));
      if (!ok()) return;
    }
    const auto grid = static_cast<unsigned>(min_index(blocks, limits_.max_blocks));
    kKernel<<<grid, threads, shared_bytes, stream_>>>(arguments...);
    keep(cudaGetLastError());
  }

  void zero(void* data, std::size_t bytes) {
    if (ok() && bytes > 0) keep(cudaMemsetAsync(data, 0, bytes, stream_));
  }

 private:
  static constexpr int kSharedBytes = 48 << 10;  // that every kernel may use

  void keep(cudaError_t error) {
    if (error == cudaSuccess) return;
    if (ok()) error_ = error;
    cudaGetLastError();  // clear the error, or the next launch would seem to have failed
  }
  void read(int* value, cudaDeviceAttr attribute) {
    if (ok()) keep(cudaDeviceGetAttribute(value, attribute, device_));
  }

  cudaStream_t stream_;
  int device_ = 0;
  GpuLimits limits_;
  cudaError_t error_ = cudaSuccess;
};

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_DEVICE_CUH_
