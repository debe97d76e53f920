// Index type, inlining macro and integer helpers shared by all of core, on the host and on GPUs.
//
// Functions in headers that several instruction sets compile are always inlined. Otherwise the
// linker could keep the copy compiled for AVX2 and run it on a machine without AVX2.
#ifndef BOXCONV_CORE_BASE_PLATFORM_H_
#define BOXCONV_CORE_BASE_PLATFORM_H_

#include <cstdint>

#if defined(__CUDACC__)
#define BOXCONV_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define BOXCONV_HOST_DEVICE inline __attribute__((always_inline))
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
