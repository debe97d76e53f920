// Index type, inlining macros and integer helpers shared by all of core, on the host and on GPUs.
#ifndef BOXCONV_CORE_BASE_PLATFORM_H_
#define BOXCONV_CORE_BASE_PLATFORM_H_

#include <cstdint>

// Marks functions in headers of the CPU kernels. These headers are compiled once per instruction
// set. If a function were not inlined, the linker could keep only the copy compiled for AVX2, and
// it would run on machines without AVX2.
#define BOXCONV_INLINE inline __attribute__((always_inline))

// Marks functions that CUDA kernels call too. On the host they are inlined for the same reason.
#if defined(__CUDACC__)
#define BOXCONV_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define BOXCONV_HOST_DEVICE BOXCONV_INLINE
#endif

namespace boxconv {

using Index = std::int64_t;

constexpr Index kCacheLineBytes = 64;

BOXCONV_HOST_DEVICE Index min_index(Index a, Index b) { return a < b ? a : b; }
BOXCONV_HOST_DEVICE Index max_index(Index a, Index b) { return a > b ? a : b; }
BOXCONV_HOST_DEVICE Index clamp_index(Index value, Index min, Index max) {
  return value < min ? min : (value > max ? max : value);
}
BOXCONV_HOST_DEVICE Index round_up(Index value, Index multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace boxconv

#endif  // BOXCONV_CORE_BASE_PLATFORM_H_
