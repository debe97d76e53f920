// SIMD vectors of the instruction set for which a file is compiled.
//
// They use the vector extension of GCC and Clang, not intrinsics: the same source compiles to SSE2,
// AVX2, AVX-512 and NEON.
//
// The kernels are compiled once per instruction set, each time in a namespace that is named after
// it (BOXCONV_ISA: baseline, avx2 or avx512). Kernels of different instruction sets are thus
// different functions to the linker, and AVX2 code never runs on a machine without AVX2.
#ifndef BOXCONV_CORE_CPU_SIMD_H_
#define BOXCONV_CORE_CPU_SIMD_H_

#include <cstring>

#include "core/base/half.h"
#include "core/base/platform.h"

#ifndef BOXCONV_ISA
#define BOXCONV_ISA baseline
#endif

namespace boxconv {
namespace BOXCONV_ISA {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

// The number of values in a register.
template <typename V>
constexpr int kMaxLanes = kVectorBytes / sizeof(V);

// The number of lanes of a vector, which sums one row or column of a plane in each lane. At most 8,
// because small planes would leave more lanes unused.
template <typename V>
constexpr int kLanes = kMaxLanes<V> < 8 ? kMaxLanes<V> : 8;

template <typename V, int kCount>
struct VectorOf {
  typedef V type __attribute__((vector_size(kCount * sizeof(V))));
};
template <typename V, int kCount = kLanes<V>>
using Vector = typename VectorOf<V, kCount>::type;

template <typename V, int kCount = kLanes<V>>
BOXCONV_INLINE Vector<V, kCount> load_vector(const V* values) {
  Vector<V, kCount> v;
  std::memcpy(&v, values, sizeof(v));
  return v;
}

template <typename V, int kCount = kLanes<V>>
BOXCONV_INLINE void store_vector(Vector<V, kCount> v, V* values) {
  std::memcpy(values, &v, sizeof(v));
}

template <typename V>
BOXCONV_INLINE void clear(V* values, Index count) {
  for (Index i = 0; i < count; ++i) values[i] = 0;
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_SIMD_H_
