// Conversion of neighbouring values between the type of an image and that of its planes.
//
// With F16C, the processor converts halves itself, several at once. Like the functions in half.h,
// it rounds to the nearest value, ties to even, and the results do not depend on whether subnormal
// floats are flushed to zero (they are too small for any half but zero).
#ifndef BOXCONV_CORE_CPU_CONVERT_H_
#define BOXCONV_CORE_CPU_CONVERT_H_

#include <cstdint>
#include <cstring>
#include <type_traits>
#if defined(__F16C__)
#include <immintrin.h>
#endif

#include "core/base/half.h"
#include "core/cpu/simd.h"

namespace boxconv {
namespace BOXCONV_ISA {

#if defined(__has_builtin)
#if __has_builtin(__builtin_convertvector)
#define BOXCONV_HAS_CONVERTVECTOR
#endif
#endif

// load_floats<n> and store_floats<n> convert n neighbouring values. Whether they exist for T:
template <typename T>
constexpr bool kLoadsAsFloats = std::is_same<T, float>::value;

template <int n>
BOXCONV_INLINE Vector<float, n> load_floats(const float* values) {
  return load_vector<float, n>(values);
}

template <int n>
BOXCONV_INLINE void store_floats(Vector<float, n> floats, float* values) {
  store_vector<float, n>(floats, values);
}

#if defined(BOXCONV_HAS_CONVERTVECTOR)
template <>
inline constexpr bool kLoadsAsFloats<BFloat16> = true;

template <int n>
BOXCONV_INLINE Vector<float, n> load_floats(const BFloat16* values) {
  Vector<std::uint16_t, n> bits;
  std::memcpy(&bits, values, sizeof(bits));
  return (Vector<float, n>)(__builtin_convertvector(bits, Vector<std::uint32_t, n>) << 16);
}

// As float_to_bfloat16().
template <int n>
BOXCONV_INLINE void store_floats(Vector<float, n> floats, BFloat16* values) {
  const auto bits = (Vector<std::uint32_t, n>)floats;
  const auto rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const auto nan = ((bits >> 16) & 0x8000u) | 0x7fc0u;
  const auto narrow =
      __builtin_convertvector(floats != floats ? nan : rounded, Vector<std::uint16_t, n>);
  std::memcpy(values, &narrow, sizeof(narrow));
}
#endif

#if defined(__F16C__)
template <>
inline constexpr bool kLoadsAsFloats<Half> = true;

template <int n>
BOXCONV_INLINE Vector<float, n> load_floats(const Half* values) {
  static_assert(n == 4 || n == 8 || n == kMaxLanes<float>, "no instruction for this number");
  if constexpr (n == 4) {
    return (Vector<float, 4>)_mm_cvtph_ps(_mm_loadl_epi64((const __m128i*)values));
  } else if constexpr (n == 8) {
    return (Vector<float, 8>)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)values));
  } else {
#if defined(__AVX512F__)
    // GCC 12 warns about an uninitialized value in _mm512_cvtph_ps itself.
    return (Vector<float, n>)_mm512_maskz_cvtph_ps(0xffff,
                                                   _mm256_loadu_si256((const __m256i*)values));
#endif
  }
}

template <int n>
BOXCONV_INLINE void store_floats(Vector<float, n> floats, Half* values) {
  static_assert(n == 4 || n == 8 || n == kMaxLanes<float>, "no instruction for this number");
  constexpr int nearest = _MM_FROUND_TO_NEAREST_INT;
  if constexpr (n == 4) {
    _mm_storel_epi64((__m128i*)values, _mm_cvtps_ph((__m128)floats, nearest));
  } else if constexpr (n == 8) {
    _mm_storeu_si128((__m128i*)values, _mm256_cvtps_ph((__m256)floats, nearest));
  } else {
#if defined(__AVX512F__)
    _mm256_storeu_si256((__m256i*)values, _mm512_maskz_cvtps_ph(0xffff, (__m512)floats, nearest));
#endif
  }
}
#endif  // __F16C__

// Converts one value.
template <typename To, typename From>
BOXCONV_INLINE To convert_value(From value) {
#if defined(__F16C__)
  if constexpr (std::is_same<From, Half>::value) {
    return static_cast<To>(_cvtsh_ss(value.bits));
  } else if constexpr (std::is_same<To, Half>::value) {
    return Half{_cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT)};
  }
#endif
  return convert<To>(value);
}

// The first `count` of n values; the rest is zero.
template <int n, int count, typename T>
BOXCONV_INLINE Vector<float, n> load_first_floats(const T* values) {
  if constexpr (count == n) return load_floats<n>(values);
  Vector<float, n> floats = {};
  for (int i = 0; i < count; ++i) floats[i] = convert_value<float>(values[i]);
  return floats;
}

// Stores the first `count` of n values.
template <int n, int count, typename T>
BOXCONV_INLINE void store_first_floats(Vector<float, n> floats, T* values) {
  if constexpr (count == n) {
    store_floats<n>(floats, values);
  } else {
    for (int i = 0; i < count; ++i) values[i] = convert_value<T>(float{floats[i]});
  }
}

// Converts `count` neighbouring values.
template <typename From, typename To>
BOXCONV_INLINE void convert_values(const From* in, Index count, To* out) {
  if constexpr (kLoadsAsFloats<From> && kLoadsAsFloats<To>) {
    constexpr int n = kMaxLanes<float>;
    Index i = 0;
    for (; i + n <= count; i += n) store_floats<n>(load_floats<n>(in + i), out + i);
    for (; i < count; ++i) out[i] = convert_value<To>(in[i]);
  } else {
    for (Index i = 0; i < count; ++i) out[i] = convert<To>(in[i]);
  }
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_CONVERT_H_
