// The current CUDA device: its limits, and kernel launches on a stream. The first error is kept,
// and after an error nothing else is launched.
#ifndef BOXCONV_CORE_CUDA_DEVICE_CUH_
#define BOXCONV_CORE_CUDA_DEVICE_CUH_

#include <cuda_runtime.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

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
    limits_.resident_blocks = 4 * processors;
    // The rest of the cache is for the input and the output.
    if (cache_bytes / 2 > limits_.chunk_bytes) limits_.chunk_bytes = cache_bytes / 2;
  }

  bool ok() const { return error_ == cudaSuccess; }
  Status status() const { return ok() ? Status() : Status(cudaGetErrorString(error_)); }
  const GpuLimits& limits() const { return limits_; }

  template <auto kKernel, typename... Arguments>
  void launch(int blocks, int threads, int shared_bytes, const Arguments&... arguments) {
    if (!ok() || blocks == 0) return;
    if (shared_bytes > 0) allow_shared_memory<kKernel>();
    if (!ok()) return;
    kKernel<<<blocks, threads, shared_bytes, stream_>>>(arguments...);
    keep(cudaGetLastError());
  }

  void zero(void* data, std::size_t bytes) {
    if (ok() && bytes > 0) keep(cudaMemsetAsync(data, 0, bytes, stream_));
  }

 private:
  // Allows a kernel all shared memory of this device, once a device. Shared memory is preferred to
  // first-level cache, so that several blocks fit on a multiprocessor.
  template <auto kKernel>
  void allow_shared_memory() {
    static std::atomic<std::uint64_t> devices{0};  // a bit for each
    const std::uint64_t bit = device_ < 64 ? std::uint64_t{1} << device_ : 0;
    if (devices.load(std::memory_order_relaxed) & bit) return;
    keep(cudaFuncSetAttribute(kKernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                              cudaSharedmemCarveoutMaxShared));
    keep(cudaFuncSetAttribute(kKernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                              limits_.shared_bytes));
    if (ok()) devices.fetch_or(bit, std::memory_order_relaxed);
  }

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
