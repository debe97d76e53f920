// Transposes, which turn pixels into planes, rows into strips, and both back.
//
// Whole tiles go through registers; compilers do not find the shuffles by themselves. What is left
// at the borders goes value by value.
#ifndef BOXCONV_CORE_TRANSPOSE_H_
#define BOXCONV_CORE_TRANSPOSE_H_

#include <type_traits>

#include "core/half.h"
#include "core/lanes.h"
#include "core/platform.h"

namespace boxconv {
namespace BOXCONV_ISA {

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define BOXCONV_HAS_SHUFFLE
#endif
#endif

#ifdef BOXCONV_HAS_SHUFFLE
#define BOXCONV_SHUFFLE __builtin_shufflevector

BOXCONV_HOST_DEVICE void transpose_registers(Vector<float, 4> (&r)[4]) {
  const auto low01 = BOXCONV_SHUFFLE(r[0], r[1], 0, 4, 1, 5);
  const auto high01 = BOXCONV_SHUFFLE(r[0], r[1], 2, 6, 3, 7);
  const auto low23 = BOXCONV_SHUFFLE(r[2], r[3], 0, 4, 1, 5);
  const auto high23 = BOXCONV_SHUFFLE(r[2], r[3], 2, 6, 3, 7);
  r[0] = BOXCONV_SHUFFLE(low01, low23, 0, 1, 4, 5);
  r[1] = BOXCONV_SHUFFLE(low01, low23, 2, 3, 6, 7);
  r[2] = BOXCONV_SHUFFLE(high01, high23, 0, 1, 4, 5);
  r[3] = BOXCONV_SHUFFLE(high01, high23, 2, 3, 6, 7);
}

#if defined(__AVX__)
BOXCONV_HOST_DEVICE void transpose_registers(Vector<float, 8> (&r)[8]) {
  Vector<float, 8> pairs[8], quads[8];
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = BOXCONV_SHUFFLE(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    pairs[i + 1] = BOXCONV_SHUFFLE(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4) {
    for (int j = 0; j < 2; ++j) {
      const auto a = pairs[i + j], b = pairs[i + j + 2];
      quads[i + 2 * j] = BOXCONV_SHUFFLE(a, b, 0, 1, 8, 9, 4, 5, 12, 13);
      quads[i + 2 * j + 1] = BOXCONV_SHUFFLE(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
  for (int i = 0; i < 4; ++i) {
    r[i] = BOXCONV_SHUFFLE(quads[i], quads[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    r[i + 4] = BOXCONV_SHUFFLE(quads[i], quads[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}
#endif

#if defined(__AVX512F__)
BOXCONV_HOST_DEVICE void transpose_registers(Vector<float, 16> (&r)[16]) {
  Vector<float, 16> pairs[16], quads[16];
  for (int i = 0; i < 16; i += 2) {
    pairs[i] =
        BOXCONV_SHUFFLE(r[i], r[i + 1], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
    pairs[i + 1] =
        BOXCONV_SHUFFLE(r[i], r[i + 1], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  }
  for (int i = 0; i < 16; i += 4) {
    for (int j = 0; j < 2; ++j) {
      const auto a = pairs[i + j], b = pairs[i + j + 2];
      quads[i + 2 * j] =
          BOXCONV_SHUFFLE(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
      quads[i + 2 * j + 1] =
          BOXCONV_SHUFFLE(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    }
  }
  // Four by four quarters of registers.
  for (int i = 0; i < 4; ++i) {
    const auto even = [](auto a, auto b) {
      return BOXCONV_SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
    };
    const auto odd = [](auto a, auto b) {
      return BOXCONV_SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    };
    const auto low_even = even(quads[i], quads[i + 4]), low_odd = odd(quads[i], quads[i + 4]);
    const auto high_even = even(quads[i + 8], quads[i + 12]);
    const auto high_odd = odd(quads[i + 8], quads[i + 12]);
    r[i] = even(low_even, high_even);
    r[i + 4] = even(low_odd, high_odd);
    r[i + 8] = odd(low_even, high_even);
    r[i + 12] = odd(low_odd, high_odd);
  }
}
#endif
#undef BOXCONV_SHUFFLE
#endif

// The sides of tiles: the largest, and the smallest that is not taken value by value.
template <typename V>
constexpr int kSmallestTile = kLanes<V>;
template <typename V>
constexpr int kLargestTile = kLanes<V>;
#ifdef BOXCONV_HAS_SHUFFLE
template <>
inline constexpr int kLargestTile<float> = kWidest<float>;
#endif

// Walks from row to row. Compilers must not see where to, or they would have the addresses of all
// rows of all tiles ready ahead of the loop, and no registers left.
template <typename V>
BOXCONV_HOST_DEVICE V* next_row(V* row, Index step) {
  row += step;
  asm("" : "+r"(row));
  return row;
}

// to[j * to_step + i] = from[i * from_step + j] for i and j below n.
template <int n, typename V>
BOXCONV_HOST_DEVICE void transpose_tile(const V* from, Index from_step, V* to, Index to_step) {
#ifdef BOXCONV_HAS_SHUFFLE
  if constexpr (std::is_same<V, float>::value) {
    Vector<float, n> rows[n];
    for (int i = 0; i < n; ++i) {
      rows[i] = load_vector<float, n>(from);
      from = next_row(from, from_step);
    }
    transpose_registers(rows);
    for (int j = 0; j < n; ++j) {
      store_vector<float, n>(rows[j], to);
      to = next_row(to, to_step);
    }
    return;
  }
#endif
  for (int j = 0; j < n; ++j) {
    for (int i = 0; i < n; ++i) to[j * to_step + i] = from[i * from_step + j];
  }
}

// The same between planes and images of another type, row by row, which compilers vectorise.
template <int n, typename T, typename V>
BOXCONV_HOST_DEVICE void transpose_tile(const T* from, Index from_step, V* to, Index to_step) {
  if constexpr (std::is_same<typename PlaneType<T>::type, V>::value) {
    V tile[n * n];
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < n; ++j) tile[i * n + j] = load(from[i * from_step + j]);
    }
    transpose_tile<n>(tile, n, to, to_step);
  } else {
    T tile[n * n];
    transpose_tile<n>(from, from_step, tile, n);
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < n; ++j) to[i * to_step + j] = Store<V>::from(tile[i * n + j]);
    }
  }
}

// to[j * to_step + i] = from[i * from_step + j] for i < rows and j < columns, converted between
// planes and images where those are of another type. Tiles are kSide wide; smaller ones, and then
// single values, do what is left.
template <int kSide, typename From, typename To>
void transpose_tiles(const From* from, Index from_step, Index rows, Index columns, To* to,
                     Index to_step) {
  if constexpr (kSide >= kSmallestTile<typename PlaneType<From>::type>) {
    constexpr int n = kSide;
    const Index whole = columns / n * n;
    Index i = 0;
    for (; i + n <= rows; i += n) {
      for (Index j = 0; j < whole; j += n) {
        transpose_tile<n>(from + i * from_step + j, from_step, to + j * to_step + i, to_step);
      }
      if (whole < columns) {
        transpose_tiles<n / 2>(from + i * from_step + whole, from_step, n, columns - whole,
                               to + whole * to_step + i, to_step);
      }
    }
    if (i < rows) {
      transpose_tiles<n / 2>(from + i * from_step, from_step, rows - i, columns, to + i, to_step);
    }
  } else {
    for (Index j = 0; j < columns; ++j) {
      for (Index i = 0; i < rows; ++i) {
        to[j * to_step + i] = Store<To>::from(load(from[i * from_step + j]));
      }
    }
  }
}

template <typename From, typename To>
void transpose(const From* from, Index from_step, Index rows, Index columns, To* to,
               Index to_step) {
  transpose_tiles<kLargestTile<typename PlaneType<From>::type>>(from, from_step, rows, columns, to,
                                                                to_step);
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_TRANSPOSE_H_
