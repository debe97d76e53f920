// Core by itself, under the address and undefined-behaviour sanitizers: random and hostile boxes
// against sums taken pixel by pixel, both layouts, several threads, and the half conversions.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <thread>
#include <vector>

#include "core/base/half.h"
#include "core/cpu/box_conv.h"

namespace {

using boxconv::BoxConvProblem;
using boxconv::Index;
using boxconv::Layout;
using boxconv::Normalization;
using boxconv::Status;

int failures = 0;

void expect(bool ok, const char* what, double got = 0, double want = 0) {
  if (ok) return;
  ++failures;
  std::fprintf(stderr, "FAILED: %s (got %.17g, want %.17g)\n", what, got, want);
}

// Splits the work in an awkward way over three threads.
void three_threads(Index total, Index, const std::function<void(Index, Index)>& body) {
  const Index cuts[] = {0, total / 5, total / 2, total};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    if (cuts[i] < cuts[i + 1]) threads.emplace_back(body, cuts[i], cuts[i + 1]);
  }
  for (std::thread& thread : threads) thread.join();
}

// Length of pixel `pixel` inside [center + low, center + high].
double overlap(Index pixel, Index center, double low, double high) {
  const double from = std::max(pixel - 0.5, center + low),
               to = std::min(pixel + 0.5, center + high);
  return std::max(0.0, to - from);
}

double extent(const BoxConvProblem& p, double low, double high, Index center, Index size) {
  if (p.normalization == Normalization::kNone) return 1;
  if (p.normalization == Normalization::kArea) return high - low;
  double sum = 0;
  for (Index pixel = 0; pixel < size; ++pixel) sum += overlap(pixel, center, low, high);
  return sum;
}

Index image_index(const BoxConvProblem& p, Index n, Index y, Index x, Index c) {
  return p.layout == Layout::kChannelsLast ? ((n * p.height + y) * p.width + x) * p.channels + c
                                           : ((n * p.channels + c) * p.height + y) * p.width + x;
}

Index out_index(const BoxConvProblem& p, Index n, Index y, Index x, Index c) {
  const Index height = p.out_height(), width = p.out_width(), channels = p.out_channels();
  return p.layout == Layout::kChannelsLast ? ((n * height + y) * width + x) * channels + c
                                           : ((n * channels + c) * height + y) * width + x;
}

// Calls visit(input index, output index, weight) for every pair that a box connects.
template <typename Visit>
void for_each_weight(const BoxConvProblem& p, const std::vector<double>& boxes,
                     const Visit& visit) {
  for (Index c = 0; c < p.channels; ++c) {
    for (Index m = 0; m < p.boxes_per_channel; ++m) {
      const double* box = &boxes[(c * p.boxes_per_channel + m) * 4];
      if (!(box[2] > box[0] && box[3] > box[1])) continue;
      for (Index i = 0; i < p.out_height(); ++i) {
        for (Index j = 0; j < p.out_width(); ++j) {
          const Index cy = i * p.stride_y, cx = j * p.stride_x;
          const double area =
              extent(p, box[0], box[2], cy, p.height) * extent(p, box[1], box[3], cx, p.width);
          if (!(area > 0)) continue;
          for (Index y = 0; y < p.height; ++y) {
            const double rows = overlap(y, cy, box[0], box[2]);
            if (rows == 0) continue;
            for (Index x = 0; x < p.width; ++x) {
              const double weight = rows * overlap(x, cx, box[1], box[3]) / area;
              for (Index n = 0; weight != 0 && n < p.batch; ++n) {
                visit(image_index(p, n, y, x, c),
                      out_index(p, n, i, j, c * p.boxes_per_channel + m), weight);
              }
            }
          }
        }
      }
    }
  }
}

double hostile_edge(std::mt19937& random) {
  const double infinity = std::numeric_limits<double>::infinity();
  const double edges[] = {infinity, -infinity,    std::nan(""), 1e30,   -1e30,   1e308,
                          -1e308,   5e-324,       1e-200,       4.5e15, -4.5e15, 9e18,
                          -9e18,    2147483648.5, 0.5,          -0.5};
  return edges[random() % (sizeof(edges) / sizeof(edges[0]))];
}

BoxConvProblem small_problem(std::mt19937& random) {
  BoxConvProblem p;
  p.batch = 1 + random() % 2;
  p.height = 1 + random() % 12;
  p.width = 1 + random() % 14;
  p.channels = 1 + random() % 19;
  return p;
}

// A plane of several tiles along one axis.
BoxConvProblem long_problem(std::mt19937& random, bool tall) {
  BoxConvProblem p;
  p.batch = 1;
  p.height = tall ? 180 + random() % 40 : 1 + random() % 3;
  p.width = tall ? 1 + random() % 9 : 1100 + random() % 60;
  p.channels = 1 + random() % 2;
  return p;
}

template <typename T, typename TBox>
void check_problem(std::mt19937& random, BoxConvProblem p, bool hostile, double tolerance) {
  std::uniform_real_distribution<double> uniform(-1, 1);
  p.boxes_per_channel = 1 + random() % 3;
  p.stride_y = 1 + random() % 3;
  p.stride_x = 1 + random() % 3;
  p.layout = random() % 2 ? Layout::kChannelsLast : Layout::kChannelsFirst;
  p.normalization = static_cast<Normalization>(random() % 3);
  std::vector<T> input(p.batch * p.height * p.width * p.channels);
  for (T& value : input) value = static_cast<T>(uniform(random));
  std::vector<TBox> boxes(p.out_channels() * 4);
  for (TBox& edge : boxes) {
    const bool border = random() % 3 == 0;
    edge = static_cast<TBox>(border ? static_cast<int>(random() % 20) - 10 + 0.5
                                    : 12 * uniform(random));
  }
  if (hostile) {
    for (TBox& edge : boxes) {
      if (random() % 2) edge = static_cast<TBox>(hostile_edge(random));
    }
  }
  const Index outputs = p.batch * p.out_height() * p.out_width() * p.out_channels();
  std::vector<T> output(outputs), output_grad(outputs), input_grad(input.size());
  std::vector<TBox> boxes_grad(boxes.size());
  for (T& value : output_grad) value = static_cast<T>(uniform(random));

  expect(boxconv::box_conv_forward(p, input.data(), boxes.data(), output.data(), three_threads) ==
             Status::kOk,
         "forward status");
  expect(boxconv::box_conv_backward(p, input.data(), boxes.data(), output_grad.data(),
                                    input_grad.data(), boxes_grad.data(),
                                    three_threads) == Status::kOk,
         "backward status");
  if (hostile) {  // what such boxes give is tested elsewhere; here nothing may trap or be NaN
    for (T value : output) expect(std::isfinite(value), "finite output", value);
    for (T value : input_grad) expect(std::isfinite(value), "finite input gradient", value);
    return;
  }
  std::vector<double> expected(outputs), expected_grad(input.size());
  for_each_weight(p, std::vector<double>(boxes.begin(), boxes.end()),
                  [&](Index from, Index to, double weight) {
                    expected[to] += weight * input[from];
                    expected_grad[from] += weight * output_grad[to];
                  });
  for (Index i = 0; i < outputs; ++i) {
    const double scale = 1 + std::abs(expected[i]);
    expect(std::abs(output[i] - expected[i]) <= tolerance * scale, "output", output[i],
           expected[i]);
  }
  for (size_t i = 0; i < input.size(); ++i) {
    const double scale = 1 + std::abs(expected_grad[i]);
    expect(std::abs(input_grad[i] - expected_grad[i]) <= 30 * tolerance * scale, "input gradient",
           input_grad[i], expected_grad[i]);
  }
}

double value_of_half(unsigned bits) {
  const int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

void check_half() {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const boxconv::Half half{static_cast<std::uint16_t>(bits)};
    const float value = boxconv::half_to_float(half);
    if (((bits >> 10) & 31) == 31) {
      expect((bits & 1023) ? std::isnan(value) : std::isinf(value), "half special", value);
      expect((bits & 1023) ? std::isnan(boxconv::half_to_float(boxconv::float_to_half(value)))
                           : boxconv::float_to_half(value).bits == bits,
             "half special round trip", bits);
      continue;
    }
    expect(value == value_of_half(bits), "half to float", value, value_of_half(bits));
    expect(boxconv::float_to_half(value).bits == bits, "half round trip",
           boxconv::float_to_half(value).bits, bits);
    if ((bits & 0x7fff) >= 0x7bff) continue;
    // Between neighbours: nearest, and even at the middle.
    const double next = value_of_half(bits + 1), middle = (value + next) / 2;
    const unsigned even = bits % 2 ? bits + 1 : bits;
    expect(boxconv::float_to_half(static_cast<float>(middle)).bits == even, "half tie", middle,
           even);
    const float below = std::nextafter(static_cast<float>(middle), value);
    expect(boxconv::float_to_half(below).bits == bits, "half below a tie", below, bits);
  }
  expect(boxconv::float_to_half(65519.0f).bits == 0x7bff &&
             boxconv::float_to_half(65520.0f).bits == 0x7c00,
         "half limit");
}

void check_bfloat16() {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const float value =
        boxconv::bfloat16_to_float(boxconv::BFloat16{static_cast<std::uint16_t>(bits)});
    if (std::isnan(value)) {
      expect(std::isnan(boxconv::bfloat16_to_float(boxconv::float_to_bfloat16(value))),
             "bfloat16 NaN");
    } else {
      expect(boxconv::float_to_bfloat16(value).bits == bits, "bfloat16 round trip",
             boxconv::float_to_bfloat16(value).bits, bits);
    }
  }
  expect(boxconv::float_to_bfloat16(1.00390625f).bits == 0x3f80, "bfloat16 tie to even");
  expect(boxconv::float_to_bfloat16(1.01171875f).bits == 0x3f82, "bfloat16 tie to even");
}

}  // namespace

int main() {
  std::mt19937 random(20190626);
  for (int i = 0; i < 150; ++i) {
    check_problem<double, double>(random, small_problem(random), false, 1e-12);
    check_problem<float, float>(random, small_problem(random), false, 1e-6);
    check_problem<double, double>(random, small_problem(random), true, 0);
    check_problem<float, float>(random, small_problem(random), true, 0);
  }
  for (int i = 0; i < 6; ++i) {
    check_problem<float, float>(random, long_problem(random, i % 2 == 0), false, 1e-6);
    check_problem<float, float>(random, long_problem(random, i % 2 == 0), true, 0);
  }
  check_half();
  check_bfloat16();
  std::printf("%s kernels: %d failures\n", boxconv::instruction_set(), failures);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
