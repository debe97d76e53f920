// Storage types for IEEE binary16 and bfloat16, and their conversions.
//
// The types have the same bits as Eigen::half, Eigen::bfloat16 and the CUDA types. On the CPU,
// compilers vectorise the conversions, and cpu/convert.h has faster ones for x86; on a GPU they are
// single instructions. All round to the nearest value, ties to even. NaNs stay NaN.
#ifndef BOXCONV_CORE_BASE_HALF_H_
#define BOXCONV_CORE_BASE_HALF_H_

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/base/platform.h"

namespace boxconv {

struct Half {
  std::uint16_t bits;
};

struct BFloat16 {
  std::uint16_t bits;
};

template <typename To, typename From>
BOXCONV_HOST_DEVICE To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From), "bit_cast needs types of equal size");
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

// The type in which pixels of type T are summed.
template <typename T>
struct PlaneType {
  using type = float;
};
template <>
struct PlaneType<double> {
  using type = double;
};

BOXCONV_HOST_DEVICE float bfloat16_to_float(BFloat16 value) {
  return bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

BOXCONV_HOST_DEVICE float half_to_float(Half value) {
#if defined(__CUDA_ARCH__)
  float converted;
  asm("cvt.f32.f16 %0, %1;" : "=f"(converted) : "h"(value.bits));
  return converted;
#else
  const std::uint32_t sign = static_cast<std::uint32_t>(value.bits & 0x8000u) << 16;
  const std::uint32_t magnitude = value.bits & 0x7fffu;
  // Rebias the exponent from 15 to 127. Infinity and NaN have the largest exponent of each format.
  const std::uint32_t normal = (magnitude << 13) + (112u << 23);
  const std::uint32_t special = (magnitude << 13) | 0x7f800000u;
  // A subnormal half is magnitude * 2^-24, and floats between 0.5 and 1 are 2^-24 apart. Adding
  // `magnitude` to the bits of 0.5 therefore gives 0.5 plus the value. No operand or result is a
  // subnormal float, which TensorFlow's threads would flush to zero.
  const std::uint32_t subnormal =
      bit_cast<std::uint32_t>(bit_cast<float>(bit_cast<std::uint32_t>(0.5f) + magnitude) - 0.5f);
  std::uint32_t result = magnitude >= 0x7c00u ? special : normal;
  result = magnitude < 0x0400u ? subnormal : result;
  return bit_cast<float>(sign | result);
#endif
}

BOXCONV_HOST_DEVICE BFloat16 float_to_bfloat16(float value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  BFloat16 converted;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(converted.bits) : "f"(value));
  return converted;
#else
  const std::uint32_t bits = bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;  // nearest even
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return {static_cast<std::uint16_t>(is_nan ? 0x7fc0u | ((bits >> 16) & 0x8000u) : rounded)};
#endif
}

BOXCONV_HOST_DEVICE Half float_to_half(float value) {
#if defined(__CUDA_ARCH__)
  Half converted;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(converted.bits) : "f"(value));
  return converted;
#else
  const std::uint32_t bits = bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  // Normal results: rebias and round to nearest even. Subnormal results: floats between 0.5 and 1
  // are 2^-24 apart, as subnormal halves are, so adding 0.5 rounds to the right place.
  const std::uint32_t normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  const std::uint32_t subnormal =
      bit_cast<std::uint32_t>(bit_cast<float>(magnitude) + 0.5f) - bit_cast<std::uint32_t>(0.5f);
  std::uint32_t result = magnitude < (113u << 23) ? subnormal : normal;
  result = magnitude >= 0x477ff000u ? 0x7c00u : result;  // 65520 and above round to infinity
  result = magnitude > 0x7f800000u ? 0x7e00u : result;   // NaN
  return {static_cast<std::uint16_t>(sign | result)};
#endif
}

template <typename To, typename From>
BOXCONV_HOST_DEVICE To convert(From value) {
  if constexpr (std::is_same<From, To>::value) {
    return value;
  } else if constexpr (std::is_same<From, Half>::value) {
    return static_cast<To>(half_to_float(value));
  } else if constexpr (std::is_same<From, BFloat16>::value) {
    return static_cast<To>(bfloat16_to_float(value));
  } else if constexpr (std::is_same<To, Half>::value) {
    return float_to_half(static_cast<float>(value));
  } else if constexpr (std::is_same<To, BFloat16>::value) {
    return float_to_bfloat16(static_cast<float>(value));
  } else {
    return static_cast<To>(value);
  }
}

// Converts a pixel to the type in which pixels are summed.
template <typename T>
BOXCONV_HOST_DEVICE typename PlaneType<T>::type widen(T value) {
  return convert<typename PlaneType<T>::type>(value);
}

}  // namespace boxconv

#endif  // BOXCONV_CORE_BASE_HALF_H_
