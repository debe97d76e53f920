// CUDA keywords and intrinsics. If nvcc is not the compiler, an emulation in tests/core defines
// them, so that the kernels also run on a machine without a GPU, one thread after another.
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

#include "core/base/platform.h"

namespace boxconv {
namespace cuda {

constexpr int kWarp = 32;
constexpr int kSector = 32;       // bytes that DRAM and caches move at once
constexpr int kMaxThreads = 512;  // per block, which leaves 128 registers per thread
constexpr int kWarpsOfMaxBlock = kMaxThreads / kWarp;

// The value in another lane of the warp, and whether a condition holds in any lane. All lanes must
// call these.
template <typename V>
BOXCONV_DEVICE V warp_value(V value, int lane) {
  return __shfl_sync(0xffffffffu, value, lane);
}
BOXCONV_DEVICE bool warp_any(bool condition) { return __any_sync(0xffffffffu, condition) != 0; }

// The bits in reverse order. To the compiler, a test of a reversed bit and a test of the original
// bit are two different tests. If it knew that they are the same, it would keep the result of the
// first for the second, which takes more instructions.
BOXCONV_DEVICE std::uint64_t reversed_bits(std::uint64_t bits) { return __brevll(bits); }

// Divides by multiplying with 2^32 / by, rounded up. Exact if both numbers have at most 16 bits.
struct Divisor {
  unsigned inverse;  // 0 for a division by one
  BOXCONV_DEVICE explicit Divisor(int by) : inverse(0xffffffffu / static_cast<unsigned>(by) + 1) {}
  BOXCONV_DEVICE int quotient(int value) const {
    const std::uint64_t product =
        static_cast<std::uint64_t>(inverse) * static_cast<unsigned>(value);
    return inverse == 0 ? value : static_cast<int>(product >> 32);
  }
};

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

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_PLATFORM_CUH_
