// Replaces core/cuda/device.cuh if the CUDA sources are compiled without nvcc. Kernels run in the
// emulation (cuda_emulation.h), and device memory is host memory.
#ifndef BOXCONV_TESTS_CORE_EMULATED_CORE_CUDA_DEVICE_CUH_
#define BOXCONV_TESTS_CORE_EMULATED_CORE_CUDA_DEVICE_CUH_

#include <cstddef>
#include <cstring>

#include "core/cuda/box_conv.h"
#include "core/cuda/box_conv_plan.h"
#include "cuda_emulation.h"

namespace boxconv {
namespace cuda {

class Device {
 public:
  explicit Device(void* = nullptr) {
    limits_.max_threads = 64;  // more would be slow
    limits_.shared_bytes = 20000;
    limits_.chunk_bytes = 50000;
    limits_.resident_blocks = 3;
    limits_.max_blocks = 1000;
  }

  explicit Device(const GpuLimits& limits) : limits_(limits) {}

  bool ok() const { return true; }
  Status status() const { return Status(); }
  const GpuLimits& limits() const { return limits_; }

  template <auto kKernel, typename... Arguments>
  void launch(Index blocks, int threads, int shared_bytes, const Arguments&... arguments) {
    cuda_emulation::launch(kKernel, static_cast<int>(min_index(blocks, limits_.max_blocks)),
                           threads, static_cast<std::size_t>(shared_bytes), arguments...);
  }

  void zero(void* data, std::size_t bytes) {
    if (bytes > 0) std::memset(data, 0, bytes);
  }

 private:
  GpuLimits limits_;
};

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_TESTS_CORE_EMULATED_CORE_CUDA_DEVICE_CUH_
