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

#include "core/base/platform.h"

namespace boxconv {
namespace cuda {

constexpr int kWarp = 32;
constexpr int kSector = 32;       // bytes that DRAM and caches move at once
constexpr int kMaxThreads = 512;  // of a block: leaves each thread 128 registers
constexpr int kWarpsOfMaxBlock = kMaxThreads / kWarp;

// The value that another lane of the warp has, and whether a condition holds in any; all lanes
// call.
template <typename V>
BOXCONV_DEVICE V warp_value(V value, int lane) {
  return __shfl_sync(0xffffffffu, value, lane);
}
BOXCONV_DEVICE bool warp_any(bool condition) { return __any_sync(0xffffffffu, condition) != 0; }

// Bits in the other order: where tests of the same bits are far apart, this keeps the compiler from
// storing their outcomes, which takes more instructions than testing again.
BOXCONV_DEVICE std::uint64_t reversed_bits(std::uint64_t bits) { return __brevll(bits); }

// Divides by multiplying with 2^32 / by, rounded up: exact for numbers and divisors of 16 bits.
struct Divisor {
  unsigned inverse;  // zero: by one
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
