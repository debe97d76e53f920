// Vectors of one instruction set.
//
// GCC's and Clang's vector extension, not intrinsics: the same source serves SSE2, AVX2, AVX-512
// and Arm's NEON. Vectors are as wide as the registers; wider ones would live in memory.
#ifndef BOXCONV_CORE_LANES_H_
#define BOXCONV_CORE_LANES_H_

#include <cstring>

#include "core/half.h"
#include "core/platform.h"

namespace boxconv {
namespace BOXCONV_ISA {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

// How many rows of a plane are taken at a time, one to a lane. At most 8: more would only ask more
// of small planes.
template <typename V>
constexpr int kLanes = kVectorBytes / sizeof(V) < 8 ? kVectorBytes / sizeof(V) : 8;

// How many of them the registers hold.
template <typename V>
constexpr int kWidest = kVectorBytes / sizeof(V);

template <typename V, int kCount>
struct VectorOf {
  typedef V type __attribute__((vector_size(kCount * sizeof(V))));
};
template <typename V, int kCount = kLanes<V>>
using Vector = typename VectorOf<V, kCount>::type;

template <typename V, int kCount = kLanes<V>>
BOXCONV_HOST_DEVICE Vector<V, kCount> load_vector(const V* from) {
  Vector<V, kCount> v;
  std::memcpy(&v, from, sizeof(v));
  return v;
}

template <typename V, int kCount = kLanes<V>>
BOXCONV_HOST_DEVICE void store_vector(Vector<V, kCount> v, V* to) {
  std::memcpy(to, &v, sizeof(v));
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_LANES_H_
