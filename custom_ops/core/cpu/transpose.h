// Matrix transposition: between channels-last pixels and planes, and between rows and row groups.
//
// Square patches are transposed in registers, by shuffles that compilers do not find themselves.
// The remainder at the borders is transposed in smaller patches, then in narrow ones, then value by
// value.
#ifndef BOXCONV_CORE_CPU_TRANSPOSE_H_
#define BOXCONV_CORE_CPU_TRANSPOSE_H_

#include <type_traits>

#include "core/base/half.h"
#include "core/cpu/convert.h"
#include "core/cpu/simd.h"

namespace boxconv {
namespace BOXCONV_ISA {

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define BOXCONV_HAS_SHUFFLE
#endif
#endif

#ifdef BOXCONV_HAS_SHUFFLE
#define BOXCONV_SHUFFLE __builtin_shufflevector

BOXCONV_INLINE void transpose_registers(Vector<float, 4> (&r)[4]) {
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
BOXCONV_INLINE void transpose_registers(Vector<float, 8> (&r)[8]) {
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
BOXCONV_INLINE void transpose_registers(Vector<float, 16> (&r)[16]) {
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
  // Transpose the 4 x 4 grid of register quarters.
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

// Side of the smallest and of the largest patches. Anything smaller is narrow.
template <typename V>
constexpr int kMinPatch = kLanes<V>;
template <typename V>
constexpr int kMaxPatch = kLanes<V>;
#ifdef BOXCONV_HAS_SHUFFLE
template <>
inline constexpr int kMinPatch<float> = 4;
template <>
inline constexpr int kMaxPatch<float> = kMaxLanes<float>;
#endif

// Returns row + stride. The empty asm hides the address from the compiler, which would otherwise
// compute the addresses of all rows ahead of the loop and run out of registers.
template <typename V>
BOXCONV_INLINE V* next_row(V* row, Index stride) {
  row += stride;
  asm("" : "+r"(row));
  return row;
}

// Whether the values between these types can be transposed in registers.
template <typename From, typename To>
#ifdef BOXCONV_HAS_SHUFFLE
constexpr bool kTransposesRegisters = kLoadsAsFloats<From> && kLoadsAsFloats<To>;
#else
constexpr bool kTransposesRegisters = false;
#endif

#ifdef BOXCONV_HAS_SHUFFLE
// out[j * out_stride + i] = in[i * in_stride + j] for i < rows and j < columns, both at most n.
// Loads `loaded` >= columns values of each row of `in`, and stores `stored` >= rows values to each
// row of `out`, in ascending order; those beyond `rows` are zeros.
template <int n, int rows, int columns, int loaded, int stored, typename From, typename To>
BOXCONV_INLINE void transpose_in_registers(const From* in, Index in_stride, To* out,
                                           Index out_stride) {
  Vector<float, n> r[n] = {};
  for (int i = 0; i < rows; ++i) {
    r[i] = load_first_floats<n, loaded>(in);
    in = next_row(in, in_stride);
  }
  transpose_registers(r);
  for (int j = 0; j < columns; ++j) {
    store_first_floats<n, stored>(r[j], out);
    out = next_row(out, out_stride);
  }
}
#endif

// out[j * out_stride + i] = in[i * in_stride + j] for i and j below n. Values are converted if From
// and To differ: one is the type of an image, the other the type of its planes. The conversion runs
// row by row, which is faster than value by value.
template <int n, typename From, typename To>
BOXCONV_INLINE void transpose_patch(const From* in, Index in_stride, To* out, Index out_stride) {
#ifdef BOXCONV_HAS_SHUFFLE
  if constexpr (kTransposesRegisters<From, To>) {
    transpose_in_registers<n, n, n, n, n>(in, in_stride, out, out_stride);
    return;
  }
#endif
  if constexpr (std::is_same<From, To>::value) {
    for (int j = 0; j < n; ++j) {
      for (int i = 0; i < n; ++i) out[j * out_stride + i] = in[i * in_stride + j];
    }
  } else if constexpr (std::is_same<typename PlaneType<From>::type, To>::value) {
    To patch[n * n];
    for (int i = 0; i < n; ++i) convert_values(in + i * in_stride, n, patch + i * n);
    transpose_patch<n>(patch, n, out, out_stride);
  } else {
    From patch[n * n];
    transpose_patch<n>(in, in_stride, patch, n);
    for (int i = 0; i < n; ++i) convert_values(patch + i * n, n, out + i * out_stride);
  }
}

// Transposes `rows` x `columns` values one by one.
template <typename From, typename To>
void transpose_values(const From* in, Index in_stride, Index rows, Index columns, To* out,
                      Index out_stride) {
  for (Index j = 0; j < columns; ++j) {
    for (Index i = 0; i < rows; ++i) {
      out[j * out_stride + i] = convert_value<To>(in[i * in_stride + j]);
    }
  }
}

// Transposes images with few channels, or the channels that remain after larger patches: rows x
// kColumns values if kColumns < 4, kRows x columns values if kRows < 4. Whole vectors are faster
// than single values, so they are loaded wherever they do not extend beyond the values of `in`, and
// stored wherever the values that they overwrite are stored later.
template <int kRows, int kColumns, typename From, typename To>
void transpose_narrow(const From* in, Index in_stride, Index rows, Index columns, To* out,
                      Index out_stride) {
#ifdef BOXCONV_HAS_SHUFFLE
  Index i = 0, j = 0;
  if constexpr (kColumns < 4) {
    const Index last = (rows - 1) * in_stride + kColumns - 1;
    for (; (i + 3) * in_stride + 3 <= last; i += 4) {
      transpose_in_registers<4, 4, kColumns, 4, 4>(in + i * in_stride, in_stride, out + i,
                                                   out_stride);
    }
    for (; i + 4 <= rows; i += 4) {
      transpose_in_registers<4, 4, kColumns, kColumns, 4>(in + i * in_stride, in_stride, out + i,
                                                          out_stride);
    }
  } else {
    const Index last = out_stride == kRows ? (columns - 1) * out_stride + kRows - 1 : -1;
    for (; (j + 3) * out_stride + 3 <= last; j += 4) {
      transpose_in_registers<4, kRows, 4, 4, 4>(in + j, in_stride, out + j * out_stride,
                                                out_stride);
    }
    for (; j + 4 <= columns; j += 4) {
      transpose_in_registers<4, kRows, 4, 4, kRows>(in + j, in_stride, out + j * out_stride,
                                                    out_stride);
    }
  }
  transpose_values(in + i * in_stride + j, in_stride, rows - i, columns - j,
                   out + j * out_stride + i, out_stride);
#endif
}

template <typename From, typename To>
void transpose_narrow(const From* in, Index in_stride, Index rows, Index columns, To* out,
                      Index out_stride) {
  const auto call = [&](auto narrow) { narrow(in, in_stride, rows, columns, out, out_stride); };
  if constexpr (!kTransposesRegisters<From, To>) {
    call(transpose_values<From, To>);
  } else if (columns == 1) {
    call(transpose_narrow<4, 1, From, To>);
  } else if (columns == 2) {
    call(transpose_narrow<4, 2, From, To>);
  } else if (columns == 3) {
    call(transpose_narrow<4, 3, From, To>);
  } else if (rows == 1) {
    call(transpose_narrow<1, 4, From, To>);
  } else if (rows == 2) {
    call(transpose_narrow<2, 4, From, To>);
  } else {
    call(transpose_narrow<3, 4, From, To>);
  }
}

// Transposes `rows` x `columns` values, by patches of side kSide, then smaller patches, then narrow
// ones.
template <int kSide, typename From, typename To>
void transpose_patches(const From* in, Index in_stride, Index rows, Index columns, To* out,
                       Index out_stride) {
  if constexpr (kSide >= kMinPatch<typename PlaneType<From>::type>) {
    constexpr int n = kSide;
    const Index patch_rows = rows / n * n, patch_columns = columns / n * n;
    for (Index i = 0; i < patch_rows; i += n) {
      for (Index j = 0; j < patch_columns; j += n) {
        transpose_patch<n>(in + i * in_stride + j, in_stride, out + j * out_stride + i, out_stride);
      }
    }
    if (patch_columns < columns) {
      transpose_patches<n / 2>(in + patch_columns, in_stride, patch_rows, columns - patch_columns,
                               out + patch_columns * out_stride, out_stride);
    }
    if (patch_rows < rows) {
      transpose_patches<n / 2>(in + patch_rows * in_stride, in_stride, rows - patch_rows, columns,
                               out + patch_rows, out_stride);
    }
  } else {
    transpose_narrow(in, in_stride, rows, columns, out, out_stride);
  }
}

// out[j * out_stride + i] = in[i * in_stride + j] for i < rows and j < columns. Values are
// converted if From and To differ: one is the type of an image, the other the type of its planes.
template <typename From, typename To>
void transpose(const From* in, Index in_stride, Index rows, Index columns, To* out,
               Index out_stride) {
  transpose_patches<kMaxPatch<typename PlaneType<From>::type>>(in, in_stride, rows, columns, out,
                                                               out_stride);
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_TRANSPOSE_H_
