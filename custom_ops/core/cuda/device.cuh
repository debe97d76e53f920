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
    int device = 0, processors = 0, cache_bytes = 0;
    keep(cudaGetDevice(&device));
    read(&limits_.shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    read(&processors, cudaDevAttrMultiProcessorCount, device);
    read(&cache_bytes, cudaDevAttrL2CacheSize, device);
    read(&limits_.reserved_bytes, cudaDevAttrReservedSharedMemoryPerBlock, device);
    if (!ok()) return;
    // About four blocks run on a multiprocessor at a time. With four times as many, only a small
    // part of the device is idle at the end.
    limits_.parts = Index{16} * processors;
    // A third of the cache: the input and the column sums share it.
    if (cache_bytes / 3 > (4 << 20)) limits_.chunk_bytes = cache_bytes / 3;
  }

  bool ok() const { return error_ == cudaSuccess; }
  Status status() const { return ok() ? Status() : Status(cudaGetErrorString(error_)); }
  const GpuLimits& limits() const { return limits_; }

  template <typename Kernel, typename... Arguments>
  void launch(Kernel kernel, int blocks, int threads, int shared_bytes,
              const Arguments&... arguments) {
    if (!ok() || blocks == 0) return;
    if (shared_bytes > 0) {
      // Prefer shared memory to first-level cache, so that several blocks fit on a multiprocessor.
      keep(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                cudaSharedmemCarveoutMaxShared));
    }
    if (shared_bytes > (48 << 10)) {
      // Not just shared_bytes: another thread may be launching the same kernel with more.
      keep(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                limits_.shared_bytes));
    }
    if (!ok()) return;
    kernel<<<blocks, threads, shared_bytes, stream_>>>(arguments...);
    keep(cudaGetLastError());
  }

  void zero(void* data, std::size_t bytes) {
    if (ok() && bytes > 0) keep(cudaMemsetAsync(data, 0, bytes, stream_));
  }

 private:
  void keep(cudaError_t error) {
    if (error == cudaSuccess) return;
    if (ok()) error_ = error;
    cudaGetLastError();  // clear the error, or the next launch would seem to have failed
  }
  void read(int* value, cudaDeviceAttr attribute, int device) {
    keep(cudaDeviceGetAttribute(value, attribute, device));
  }

  cudaStream_t stream_;
  GpuLimits limits_;
  cudaError_t error_ = cudaSuccess;
};

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_DEVICE_CUH_
