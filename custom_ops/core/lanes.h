// Vectors of one instruction set, and the transposes that turn pixels into planes and back.
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

template <typename V>
struct VectorOf {
  typedef V type __attribute__((vector_size(kLanes<V> * sizeof(V))));
};
template <typename V>
using Vector = typename VectorOf<V>::type;

template <typename V>
BOXCONV_HOST_DEVICE Vector<V> load_vector(const V* from) {
  Vector<V> v;
  std::memcpy(&v, from, sizeof(v));
  return v;
}

template <typename V>
BOXCONV_HOST_DEVICE void store_vector(Vector<V> v, V* to) {
  std::memcpy(to, &v, sizeof(v));
}

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define BOXCONV_HAS_SHUFFLE
#endif
#endif

#ifdef BOXCONV_HAS_SHUFFLE
// Transposes in registers, the lanes of two vectors at a time. Compilers do not find these.
#if defined(__AVX__)
BOXCONV_HOST_DEVICE void transpose_registers(Vector<float> (&r)[8]) {
  Vector<float> pairs[8], quads[8];
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    pairs[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4) {
    for (int j = 0; j < 2; ++j) {
      const auto a = pairs[i + j], b = pairs[i + j + 2];
      quads[i + 2 * j] = __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13);
      quads[i + 2 * j + 1] = __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
  for (int i = 0; i < 4; ++i) {
    r[i] = __builtin_shufflevector(quads[i], quads[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    r[i + 4] = __builtin_shufflevector(quads[i], quads[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}
#else
BOXCONV_HOST_DEVICE void transpose_registers(Vector<float> (&r)[4]) {
  const auto low01 = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5);
  const auto high01 = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
  const auto low23 = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
  const auto high23 = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
  r[0] = __builtin_shufflevector(low01, low23, 0, 1, 4, 5);
  r[1] = __builtin_shufflevector(low01, low23, 2, 3, 6, 7);
  r[2] = __builtin_shufflevector(high01, high23, 0, 1, 4, 5);
  r[3] = __builtin_shufflevector(high01, high23, 2, 3, 6, 7);
}
#endif
#endif

// to[j * to_step + i] = from[i * from_step + j] for i and j below kLanes<V>.
template <typename V>
BOXCONV_HOST_DEVICE void transpose_tile(const V* from, Index from_step, V* to, Index to_step) {
  constexpr int n = kLanes<V>;
  for (int j = 0; j < n; ++j) {
    for (int i = 0; i < n; ++i) to[j * to_step + i] = from[i * from_step + j];
  }
}

#ifdef BOXCONV_HAS_SHUFFLE
BOXCONV_HOST_DEVICE void transpose_tile(const float* from, Index from_step, float* to,
                                        Index to_step) {
  constexpr int n = kLanes<float>;
  Vector<float> rows[n];
  for (int i = 0; i < n; ++i) rows[i] = load_vector(from + i * from_step);
  transpose_registers(rows);
  for (int j = 0; j < n; ++j) store_vector(rows[j], to + j * to_step);
}
#endif

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_LANES_H_
