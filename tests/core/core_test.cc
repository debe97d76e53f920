// Core on a fixed selection of the fuzzer's problems, and the conversions of half types.
#include <cmath>
#include <cstdint>

#include "../fuzz/number_types.h"
#include "../fuzz/problem.h"
#include "../fuzz/properties.h"
#include "check.h"

namespace boxconv {
namespace {

// The first seeds of the fuzzer. `make fuzz` checks more.
TEST(results_agree_with_the_reference) {
  for (std::uint64_t seed = 1; seed <= 1500; ++seed) {
    const fuzz::Problem problem = fuzz::make_problem(seed);
    const test::Trace trace(fuzz::describe(problem) + ", " + instruction_set());
    for (const std::string& failure : fuzz::check(problem).failures) {
      test::fail(__FILE__, __LINE__, failure);
    }
  }
}

constexpr unsigned kHalfSign = 0x8000, kHalfExponent = 0x7c00, kLargestHalf = 0x7bff;

double value_of_half(unsigned bits) {
  return fuzz::kFloat16.decode(static_cast<std::uint16_t>(bits));
}

float half_bits_to_float(unsigned bits) {
  return half_to_float(Half{static_cast<std::uint16_t>(bits)});
}

TEST(halves_survive_a_round_trip) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const float value = half_bits_to_float(bits);
    if (std::isnan(value_of_half(bits))) {
      CHECK(std::isnan(value));
      CHECK(std::isnan(half_to_float(float_to_half(value))));
    } else {
      CHECK_EQUAL(value, value_of_half(bits));
      CHECK_EQUAL(float_to_half(value).bits, bits);
    }
  }
}

TEST(floats_between_two_halves_round_to_the_nearest_even) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    if ((bits & ~kHalfSign) >= kLargestHalf) continue;
    const double value = value_of_half(bits), next = value_of_half(bits + 1);
    const float middle = static_cast<float>((value + next) / 2);
    const unsigned even = bits % 2 == 0 ? bits : bits + 1;
    CHECK_EQUAL(float_to_half(middle).bits, even);
    CHECK_EQUAL(float_to_half(std::nextafter(middle, static_cast<float>(value))).bits, bits);
  }
}

TEST(floats_beyond_the_largest_half_round_to_infinity) {
  CHECK_EQUAL(float_to_half(65519.0f).bits, kLargestHalf);
  CHECK_EQUAL(float_to_half(65520.0f).bits, kHalfExponent);
}

TEST(bfloat16_values_survive_a_round_trip) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const float value = bfloat16_to_float(BFloat16{static_cast<std::uint16_t>(bits)});
    if (std::isnan(value)) {
      CHECK(std::isnan(bfloat16_to_float(float_to_bfloat16(value))));
    } else {
      CHECK_EQUAL(float_to_bfloat16(value).bits, bits);
    }
  }
}

TEST(floats_between_two_bfloat16_values_round_to_the_nearest_even) {
  CHECK_EQUAL(float_to_bfloat16(1.00390625f).bits, 0x3f80);
  CHECK_EQUAL(float_to_bfloat16(1.01171875f).bits, 0x3f82);
}

}  // namespace
}  // namespace boxconv
