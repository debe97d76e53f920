// What every file of core shares: index type, inlining, and the namespace of one instruction set.
#ifndef BOXCONV_CORE_PLATFORM_H_
#define BOXCONV_CORE_PLATFORM_H_

#include <cstdint>

// The kernels are compiled once per instruction set, each time in a namespace of its own, so that
// the linker can never hand code built for AVX2 to a machine without it.
#ifndef BOXCONV_ISA
#define BOXCONV_ISA baseline
#endif

#if defined(__CUDACC__)
#define BOXCONV_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define BOXCONV_HOST_DEVICE inline __attribute__((always_inline))
#endif

namespace boxconv {
using Index = std::int64_t;

namespace BOXCONV_ISA {

constexpr Index kCacheLine = 64;  // bytes

BOXCONV_HOST_DEVICE Index smaller(Index a, Index b) { return a < b ? a : b; }
BOXCONV_HOST_DEVICE Index larger(Index a, Index b) { return a > b ? a : b; }
BOXCONV_HOST_DEVICE Index clamp_index(Index value, Index low, Index high) {
  return value < low ? low : (value > high ? high : value);
}
BOXCONV_HOST_DEVICE Index rounded_up(Index value, Index multiple) {
  return (value + multiple - 1) / multiple * multiple;
}
template <typename V>
BOXCONV_HOST_DEVICE void clear(V* values, Index count) {
  for (Index i = 0; i < count; ++i) values[i] = 0;
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_PLATFORM_H_
