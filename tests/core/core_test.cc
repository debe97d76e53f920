// Core on a fixed selection of the fuzzer's problems, and the conversions of half types.
#include <cmath>
#include <cstdint>
#include <functional>
#include <vector>
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

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

// While it exists, x86 processors flush subnormal floats to zero, as in TensorFlow's threads.
class FlushSubnormals {
 public:
#if defined(__SSE2__)
  explicit FlushSubnormals(bool flush) {
    constexpr unsigned kFlushResults = 0x8000, kFlushOperands = 0x0040;
    if (flush) _mm_setcsr(before_ | kFlushResults | kFlushOperands);
  }
  ~FlushSubnormals() { _mm_setcsr(before_); }

 private:
  const unsigned before_ = _mm_getcsr();
#else
  explicit FlushSubnormals(bool) {}
#endif
};

// The kernels may convert halves with the processor's own instructions. Each output is the mean of
// two neighbouring halves: half of the outputs are ties, which only exact conversions in both
// directions round to the even one. `flush`: subnormal floats are flushed to zero.
void check_means_of_neighbouring_halves(Layout layout, Index channels, Index boxes_per_channel,
                                        bool flush) {
  constexpr Index kWidth = 248, kHeight = kHalfExponent / kWidth;
  static_assert(kWidth * kHeight == kHalfExponent, "the image has every finite half");
  const Index pixels = kHeight * kWidth;
  BoxConvProblem p;
  p.batch = 1;
  p.height = kHeight;
  p.width = kWidth;
  p.channels = channels;
  p.boxes_per_channel = boxes_per_channel;
  p.layout = layout;
  const auto position = [&](Index pixel, Index channel, Index count) {
    return layout == Layout::kChannelsLast ? pixel * count + channel : channel * pixels + pixel;
  };
  const auto sign_of = [](Index channel) { return channel % 2 == 0 ? 0u : kHalfSign; };
  std::vector<Half> input(static_cast<std::size_t>(p.input_size()));
  for (Index c = 0; c < channels; ++c) {
    for (Index i = 0; i < pixels; ++i) {
      input[static_cast<std::size_t>(position(i, c, channels))].bits =
          static_cast<std::uint16_t>(static_cast<unsigned>(i) | sign_of(c));
    }
  }
  std::vector<float> boxes;
  for (Index c = 0; c < p.out_channels(); ++c) {
    for (float edge : {-0.5f, -0.5f, 0.5f, 1.5f}) boxes.push_back(edge);
  }
  std::vector<Half> output(static_cast<std::size_t>(p.output_size()));
  const auto run_all = [](Index total, Index, const std::function<void(Index, Index)>& body) {
    body(0, total);
  };
  {
    const FlushSubnormals flushed(flush);
    CHECK(box_conv_forward(p, input.data(), boxes.data(), output.data(), run_all) == Status::kOk);
  }
  for (Index c = 0; c < p.out_channels(); ++c) {
    const unsigned sign = sign_of(c / boxes_per_channel);
    for (Index i = 0; i < pixels; ++i) {
      if (i % kWidth == kWidth - 1) continue;  // half of this box lies outside the image
      const unsigned bits = static_cast<unsigned>(i), even = bits + bits % 2;
      const unsigned got = output[static_cast<std::size_t>(position(i, c, p.out_channels()))].bits;
      CHECK_EQUAL(got == kHalfSign ? 0u : got, even == 0 ? 0u : even | sign);  // -0 equals 0
    }
  }
}

TEST(kernels_round_means_of_halves_to_the_nearest_even) {
  for (const bool flush : {false, true}) {
    for (const Index boxes_per_channel : {1, 2}) {
      check_means_of_neighbouring_halves(Layout::kChannelsFirst, 2, boxes_per_channel, flush);
      for (const Index channels : {1, 2, 3, 4, 7, 8, 12, 16, 21, 32}) {
        check_means_of_neighbouring_halves(Layout::kChannelsLast, channels, boxes_per_channel,
                                           flush);
      }
    }
  }
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
