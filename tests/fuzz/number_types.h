// The four number types: their conversions from and to double, which share no code with core, and
// their limits.
#ifndef BOXCONV_TESTS_FUZZ_NUMBER_TYPES_H_
#define BOXCONV_TESTS_FUZZ_NUMBER_TYPES_H_

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <limits>

#include "core.h"

namespace boxconv {
namespace fuzz {

// A 16-bit floating-point format with `mantissa_bits` bits after the leading one. The smallest
// normal number is 2^min_exponent.
struct Format16 {
  int mantissa_bits, min_exponent;

  int infinity() const { return 0x8000 - (1 << mantissa_bits); }

  double decode(std::uint16_t bits) const {
    const int magnitude = bits & 0x7fff;
    const int exponent = magnitude >> mantissa_bits, one = 1 << mantissa_bits;
    const int mantissa = magnitude & (one - 1);
    double value;
    if (magnitude >= infinity()) {
      value = mantissa == 0 ? HUGE_VAL : std::nan("");
    } else if (exponent == 0) {
      value = std::ldexp(mantissa, min_exponent - mantissa_bits);
    } else {
      value = std::ldexp(one + mantissa, exponent - 1 + min_exponent - mantissa_bits);
    }
    return bits & 0x8000 ? -value : value;
  }

  // The nearest value, ties to even.
  std::uint16_t encode(double value) const {
    const int sign = std::signbit(value) ? 0x8000 : 0;
    const double magnitude = std::fabs(value);
    int bits = infinity();
    if (std::isnan(value)) {
      ++bits;
    } else if (magnitude == 0) {
      bits = 0;
    } else if (magnitude < std::ldexp(1.0, 2 - min_exponent)) {
      const int binade = std::ilogb(magnitude);
      const int exponent = binade > min_exponent ? binade : min_exponent;
      const double steps = std::nearbyint(std::ldexp(magnitude, mantissa_bits - exponent));
      // A carry into the next binade, or into infinity, gives the right bits too.
      bits = ((exponent - min_exponent) << mantissa_bits) + static_cast<int>(steps);
      if (bits > infinity()) bits = infinity();
    }
    return static_cast<std::uint16_t>(sign | bits);
  }
};

constexpr Format16 kFloat16{10, -14}, kBFloat16{7, -126};

inline double decode(Half value) { return kFloat16.decode(value.bits); }
inline double decode(BFloat16 value) { return kBFloat16.decode(value.bits); }
inline double decode(float value) { return value; }
inline double decode(double value) { return value; }

template <typename T>
T encode(double value) {
  return static_cast<T>(value);
}
template <>
inline Half encode<Half>(double value) {
  return {kFloat16.encode(value)};
}
template <>
inline BFloat16 encode<BFloat16>(double value) {
  return {kBFloat16.encode(value)};
}

// Relative rounding error, smallest subnormal and largest finite value.
struct Limits {
  double rounding, smallest, largest;
};

// A bound of the error of rounding a value to a type with these limits.
inline double rounding_error(double value, const Limits& stored) {
  return std::fabs(value) * stored.rounding * 1.001 + stored.smallest;
}

template <typename T>
Limits limits();
template <>
inline Limits limits<Half>() {
  return {0x1p-11, 0x1p-24, 65504};
}
template <>
inline Limits limits<BFloat16>() {
  return {0x1p-8, 0x1p-133, 0x1.fep127};
}
template <>
inline Limits limits<float>() {
  return {0x1p-24, 0x1p-149, FLT_MAX};
}
template <>
inline Limits limits<double>() {
  return {0x1p-53, 0x1p-1074, DBL_MAX};
}

}  // namespace fuzz
}  // namespace boxconv

#endif  // BOXCONV_TESTS_FUZZ_NUMBER_TYPES_H_
