// Core by itself: a fixed selection of the fuzzer's problems, and the half conversions.
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "../fuzz/number_types.h"
#include "../fuzz/problem.h"
#include "../fuzz/properties.h"

namespace {

using boxconv::fuzz::kFloat16;

int failures = 0;

void expect(bool ok, const char* what, double got = 0, double want = 0) {
  if (ok) return;
  ++failures;
  std::fprintf(stderr, "FAILED: %s (got %.17g, want %.17g)\n", what, got, want);
}

// Problems of consecutive seeds. Whoever wants more says `make fuzz`.
void check_problems() {
  for (std::uint64_t seed = 1; seed <= 1500; ++seed) {
    const boxconv::fuzz::Problem problem = boxconv::fuzz::make_problem(seed);
    const boxconv::fuzz::Report report = boxconv::fuzz::check(problem);
    if (report.failures.empty()) continue;
    ++failures;
    std::fprintf(stderr, "FAILED %s\n", boxconv::fuzz::describe(problem).c_str());
    for (const std::string& failure : report.failures) {
      std::fprintf(stderr, "  %s\n", failure.c_str());
    }
  }
}

double value_of_half(unsigned bits) { return kFloat16.decode(static_cast<std::uint16_t>(bits)); }

void check_half() {
  using boxconv::float_to_half;
  using boxconv::half_to_float;
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const boxconv::Half half{static_cast<std::uint16_t>(bits)};
    const float value = half_to_float(half);
    if (((bits >> 10) & 31) == 31) {
      expect((bits & 1023) ? std::isnan(value) : std::isinf(value), "half special", value);
      expect((bits & 1023) ? std::isnan(half_to_float(float_to_half(value)))
                           : float_to_half(value).bits == bits,
             "half special round trip", bits);
      continue;
    }
    expect(value == value_of_half(bits), "half to float", value, value_of_half(bits));
    expect(float_to_half(value).bits == bits, "half round trip", float_to_half(value).bits, bits);
    if ((bits & 0x7fff) >= 0x7bff) continue;
    // Between neighbours: nearest, and even at the middle.
    const double next = value_of_half(bits + 1), middle = (value + next) / 2;
    const unsigned even = bits % 2 ? bits + 1 : bits;
    expect(float_to_half(static_cast<float>(middle)).bits == even, "half tie", middle, even);
    const float below = std::nextafter(static_cast<float>(middle), value);
    expect(float_to_half(below).bits == bits, "half below a tie", below, bits);
  }
  expect(float_to_half(65519.0f).bits == 0x7bff && float_to_half(65520.0f).bits == 0x7c00,
         "half limit");
}

void check_bfloat16() {
  using boxconv::bfloat16_to_float;
  using boxconv::float_to_bfloat16;
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const float value = bfloat16_to_float(boxconv::BFloat16{static_cast<std::uint16_t>(bits)});
    if (std::isnan(value)) {
      expect(std::isnan(bfloat16_to_float(float_to_bfloat16(value))), "bfloat16 NaN");
    } else {
      expect(float_to_bfloat16(value).bits == bits, "bfloat16 round trip",
             float_to_bfloat16(value).bits, bits);
    }
  }
  expect(float_to_bfloat16(1.00390625f).bits == 0x3f80, "bfloat16 tie to even");
  expect(float_to_bfloat16(1.01171875f).bits == 0x3f82, "bfloat16 tie to even");
}

}  // namespace

int main() {
  check_problems();
  check_half();
  check_bfloat16();
  std::printf("%s kernels: %d failures\n", boxconv::instruction_set(), failures);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
