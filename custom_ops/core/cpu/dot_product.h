// Dot products of planes.
#ifndef BOXCONV_CORE_CPU_DOT_PRODUCT_H_
#define BOXCONV_CORE_CPU_DOT_PRODUCT_H_

#include "core/cpu/simd.h"
#include "core/cpu/sliding_window.h"

namespace boxconv {
namespace BOXCONV_ISA {

// The number of rows that dot_product may take at once. No accumulator then adds more than about
// kChain values, which bounds the rounding error.
template <typename V>
Index dot_product_rows(Index width) {
  return max_index(1, kChain / (width / (4 * kLanes<V>)+1));
}

// The dot product of two planes with `rows` rows. `stride` is the row stride of both. Four
// accumulators hide the latency of the additions.
template <typename V>
double dot_product(const V* a, const V* b, Index stride, Index rows, Index width) {
  constexpr Index n = kLanes<V>;
  Vector<V> sums[4] = {};
  V rest = 0;
  for (Index y = 0; y < rows; ++y) {
    const V *u = a + y * stride, *v = b + y * stride;
    Index x = 0;
    for (; x + 4 * n <= width; x += 4 * n) {
      for (int i = 0; i < 4; ++i) {
        sums[i] += load_vector(u + x + i * n) * load_vector(v + x + i * n);
      }
    }
    for (; x + n <= width; x += n) sums[0] += load_vector(u + x) * load_vector(v + x);
    for (; x < width; ++x) rest += u[x] * v[x];
  }
  const Vector<V> sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  double total = rest;
  for (int i = 0; i < n; ++i) total += sum[i];
  return total;
}

// The dot product of two arrays of any length, in parts whose rounding errors are bounded.
template <typename V>
double dot_product(const V* a, const V* b, Index count) {
  constexpr Index kPart = 4 * kLanes<V> * kChain;
  double total = 0;
  for (Index i = 0; i < count; i += kPart) {
    total += dot_product(a + i, b + i, 0, 1, min_index(kPart, count - i));
  }
  return total;
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_DOT_PRODUCT_H_
