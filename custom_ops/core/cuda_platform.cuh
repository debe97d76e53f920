// CUDA's words for kernels. Without nvcc they come from the emulation that the tests bring, so that
// the same kernel bodies run, thread by thread, on a machine without a GPU.
#ifndef BOXCONV_CORE_CUDA_PLATFORM_CUH_
#define BOXCONV_CORE_CUDA_PLATFORM_CUH_

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#define BOXCONV_DEVICE __device__ __forceinline__
#define BOXCONV_UNROLL _Pragma("unroll")
#else
#include "cuda_emulation.h"
#define BOXCONV_DEVICE inline
#define BOXCONV_UNROLL
#endif

#include "core/platform.h"

namespace boxconv {
namespace BOXCONV_ISA {

constexpr int kWarp = 32;
constexpr int kSector = 32;       // bytes that DRAM and caches move at once
constexpr int kMaxThreads = 512;  // of a block: leaves each thread 128 registers
constexpr int kWarpsOfMaxBlock = kMaxThreads / kWarp;

// The block's dynamic shared memory.
template <typename V>
BOXCONV_DEVICE V* dynamic_shared() {
#if defined(__CUDACC__)
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  return reinterpret_cast<V*>(shared_bytes);
#else
  return static_cast<V*>(cuda_emulation::dynamic_shared());
#endif
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_PLATFORM_CUH_
