// The CUDA kernels without a GPU: every kernel, thread by thread, under sanitizers, against the CPU
// kernels in double on the same numbers. Devices of little shared memory and few threads make small
// problems take every path.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "core/base/half.h"
#include "core/cpu/box_conv.h"
#include "core/cuda/box_conv_launch.cuh"
#include "core/cuda/integral_image_launch.cuh"

namespace {

using boxconv::BFloat16;
using boxconv::BoxConvProblem;
using boxconv::Half;
using boxconv::Index;
using boxconv::IntegralImageProblem;
using boxconv::Layout;
using boxconv::Normalization;
using boxconv::cuda::BoxConvLauncher;
using boxconv::cuda::GpuLimits;
using boxconv::cuda::IntegralImageLauncher;

int failures = 0, fused_problems = 0, tiled_problems = 0, shared_row_problems = 0,
    workspace_row_problems = 0, tiled_tables = 0;

void expect(bool ok, const char* what, double got, double want, double allowed) {
  if (ok) return;
  if (++failures < 20) {
    std::fprintf(stderr, "FAILED: %s (got %.9g, want %.9g, allowed %.3g)\n", what, got, want,
                 allowed);
  }
}

// Calls kernels as a GPU's device does.
struct EmulatedDevice {
  template <typename Kernel, typename... Arguments>
  void launch(Kernel kernel, int blocks, int threads, int shared_bytes,
              const Arguments&... arguments) {
    cuda_emulation::launch(kernel, blocks, threads, static_cast<std::size_t>(shared_bytes),
                           arguments...);
  }
  void zero(void* data, std::size_t bytes) {
    if (bytes > 0) std::memset(data, 0, bytes);
  }
};

void serial(Index total, Index, const std::function<void(Index, Index)>& body) { body(0, total); }

// Memory as it comes from an allocator: of exactly this size, holding NaNs.
template <typename T>
std::vector<T> garbage(Index count) {
  std::vector<T> values(static_cast<std::size_t>(count));
  if (count > 0) std::memset(static_cast<void*>(values.data()), 0xff, values.size() * sizeof(T));
  return values;
}

template <typename T>
struct Rounding {
  static constexpr double kResult = 0;  // of a result that is stored in T, relative
  static constexpr double kSums = 2e-6;
};
template <>
struct Rounding<double> {
  static constexpr double kResult = 0, kSums = 1e-13;
};
template <>
struct Rounding<Half> {
  static constexpr double kResult = 1.0 / 2048, kSums = 2e-6;
};
template <>
struct Rounding<BFloat16> {
  static constexpr double kResult = 1.0 / 256, kSums = 2e-6;
};

template <typename T>
double value(T stored) {
  return boxconv::widen(stored);
}

template <typename T>
std::vector<double> widened(const std::vector<T>& values) {
  std::vector<double> wide;
  for (T stored : values) wide.push_back(value(stored));
  return wide;
}

std::vector<double> magnitudes(std::vector<double> values) {
  for (double& entry : values) entry = std::abs(entry);
  return values;
}

template <typename T>
void fill(std::mt19937& random, std::vector<T>* values) {
  std::uniform_real_distribution<float> uniform(-1, 1);
  for (T& entry : *values) entry = boxconv::convert<T>(uniform(random));
}

struct Results {
  std::vector<double> output, input_grad, boxes_grad;
};

// The CPU kernels, in double.
Results expected(const BoxConvProblem& p, const std::vector<double>& input,
                 const std::vector<double>& boxes, const std::vector<double>& output_grad) {
  Results results{std::vector<double>(output_grad.size()), std::vector<double>(input.size()),
                  std::vector<double>(boxes.size())};
  boxconv::box_conv_forward(p, input.data(), boxes.data(), results.output.data(), serial);
  boxconv::box_conv_backward(p, input.data(), boxes.data(), output_grad.data(),
                             results.input_grad.data(), results.boxes_grad.data(), serial);
  return results;
}

template <typename T, typename TBox>
Results emulated(const BoxConvProblem& p, const GpuLimits& limits, const std::vector<T>& input,
                 const std::vector<TBox>& boxes, const std::vector<T>& output_grad) {
  using Launcher = BoxConvLauncher<T, TBox, EmulatedDevice>;
  EmulatedDevice device;
  auto output = garbage<T>(static_cast<Index>(output_grad.size()));
  auto input_grad = garbage<T>(static_cast<Index>(input.size()));
  auto boxes_grad = garbage<TBox>(static_cast<Index>(boxes.size()));
  for (const bool backward : {false, true}) {
    const Launcher sized(p, limits, backward);
    auto workspace = garbage<char>(static_cast<Index>(sized.workspace_size()) + 1);
    const Launcher launcher(p, limits, backward, workspace.data());
    if (backward) {
      launcher.backward(device, input.data(), boxes.data(), output_grad.data(), input_grad.data(),
                        boxes_grad.data());
    } else {
      launcher.forward(device, input.data(), boxes.data(), output.data());
    }
    ++(launcher.plan().is_fused()       ? fused_problems
       : launcher.plan().is_tiled()     ? tiled_problems
       : launcher.plan().rows_in_shared ? shared_row_problems
                                        : workspace_row_problems);
  }
  return {widened(output), widened(input_grad), widened(boxes_grad)};
}

void compare(const char* what, const std::vector<double>& got, const std::vector<double>& want,
             const std::vector<double>& magnitude, double sums, double result) {
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double allowed =
        sums * magnitude[i] + result * std::abs(want[i]) + (result > 0 ? 1e-7 : 1e-30);
    expect(std::abs(got[i] - want[i]) <= allowed, what, got[i], want[i], allowed);
  }
}

// Sums of the magnitudes of what the edge gradients of each box are made of, at least roughly.
std::vector<double> edge_magnitudes(const BoxConvProblem& p, const std::vector<double>& boxes,
                                    const Results& sums) {
  double total = 1;
  for (double entry : sums.output) total += entry;
  std::vector<double> magnitude;
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    const double* box = &boxes[i / 4 * 4];
    const double side = std::max(1e-9, std::min(box[2] - box[0], box[3] - box[1]));
    magnitude.push_back(total * (1 + 1 / side));
  }
  return magnitude;
}

double edge(std::mt19937& random, Index size) {
  std::uniform_real_distribution<double> uniform(-1.3, 1.3);
  const double eighths = 8;  // no part of a box inside the image is thinner than one
  const double anywhere = std::round(uniform(random) * size * eighths) / eighths;
  return random() % 4 == 0 ? std::floor(anywhere) + 0.5 : anywhere;
}

double hostile_edge(std::mt19937& random) {
  const double infinity = std::numeric_limits<double>::infinity();
  const double edges[] = {infinity, -infinity, std::nan(""), 1e30, -1e30, 1e308, -1e308, 5e-324,
                          1e-200,   4.5e15,    -4.5e15,      9e18, -9e18, 0.5,   -0.5,   1.0};
  return edges[random() % (sizeof(edges) / sizeof(edges[0]))];
}

template <typename TBox>
std::vector<TBox> random_boxes(std::mt19937& random, const BoxConvProblem& p, bool hostile) {
  std::vector<TBox> boxes;
  for (Index i = 0; i < p.out_channels(); ++i) {
    double box[4];
    for (int axis = 0; axis < 2; ++axis) {
      const double a = edge(random, axis == 0 ? p.height : p.width),
                   b = edge(random, axis == 0 ? p.height : p.width);
      box[axis] = std::min(a, b);  // at times equal: empty
      box[axis + 2] = std::max(a, b);
      if (random() % 6 == 0) box[axis + 2] = box[axis] + 0.125;  // often inside one pixel
    }
    for (double& coordinate : box) {
      if (hostile && random() % 2) coordinate = hostile_edge(random);
      boxes.push_back(static_cast<TBox>(coordinate));
    }
  }
  return boxes;
}

BoxConvProblem random_problem(std::mt19937& random, Index longest) {
  BoxConvProblem p;
  p.batch = 1 + random() % 3;
  p.height = 1 + random() % longest;
  p.width = 1 + random() % longest;
  p.channels = 1 + random() % (random() % 3 ? 5 : 21);
  p.boxes_per_channel = 1 + random() % 3;
  p.stride_y = random() % 2 ? 1 : 1 + random() % 3;
  p.stride_x = random() % 2 ? 1 : 1 + random() % 3;
  p.layout = random() % 2 ? Layout::kChannelsLast : Layout::kChannelsFirst;
  p.normalization = static_cast<Normalization>(random() % 3);
  if (random() % 8 == 0) {  // columns of several segments
    p.height = 130 + random() % 100;
    p.width = 1 + random() % 9;
  }
  if (random() % 4 == 0) {  // packets of pixels or channels
    p.channels = 8 * (1 + random() % 2);
    p.width = (p.width + 7) / 8 * 8;
  }
  return p;
}

GpuLimits random_limits(std::mt19937& random) {
  const int shared[] = {700, 3000, 5000, 12000, 48 << 10};
  GpuLimits limits;
  limits.shared_bytes = shared[random() % 5];
  limits.max_threads = random() % 4 ? 64 : random() % 2 ? 128 : 512;
  limits.max_blocks = 1 + random() % 40;
  limits.chunk_bytes = 1 + random() % 20000;
  limits.parts = 1 + random() % 5;
  if (random() % 3 == 0) limits.longest_line = 1 + random() % 12;  // others are summed by lines
  return limits;
}

// Planes that fit shared memory by strips only.
BoxConvProblem problem_of_strips(std::mt19937& random, GpuLimits* limits) {
  *limits = random_limits(random);
  limits->shared_bytes = 8000;
  limits->max_threads = 64;
  limits->longest_line = GpuLimits().longest_line;
  BoxConvProblem p = random_problem(random, 20);
  p.height = 35 + random() % 25;
  p.width = 35 + random() % 25;
  p.channels = 1 + random() % 9;
  return p;
}

// Lines about as long as some chunks of a warp's lanes.
BoxConvProblem problem_of_chunks(std::mt19937& random, Index chunk, Index chunks) {
  BoxConvProblem p;
  const Index length = std::max<Index>(1, chunk * chunks - 2 + random() % 4);
  const bool upright = random() % 2;
  p.batch = 1;
  p.height = upright ? length : 1 + random() % 4;
  p.width = upright ? 1 + random() % 4 : length;
  p.channels = 1 + random() % 6;
  p.boxes_per_channel = 1 + random() % 2;
  p.layout = random() % 2 ? Layout::kChannelsLast : Layout::kChannelsFirst;
  p.normalization = static_cast<Normalization>(random() % 3);
  return p;
}

Index outputs(const BoxConvProblem& p) {
  return p.batch * p.out_height() * p.out_width() * p.out_channels();
}

template <typename T, typename TBox>
void check_problem(std::mt19937& random, const BoxConvProblem& p, const GpuLimits& limits) {
  std::vector<T> input(p.batch * p.height * p.width * p.channels), output_grad(outputs(p));
  fill(random, &input);
  fill(random, &output_grad);
  const auto boxes = random_boxes<TBox>(random, p, false);
  const auto x = widened(input), g = widened(output_grad), b = widened(boxes);
  const Results want = expected(p, x, b, g);
  const Results sums = expected(p, magnitudes(x), b, magnitudes(g));
  const Results got = emulated<T, TBox>(p, limits, input, boxes, output_grad);
  using Error = Rounding<T>;
  compare("output", got.output, want.output, sums.output, Error::kSums, Error::kResult);
  compare("input gradient", got.input_grad, want.input_grad, sums.input_grad, Error::kSums,
          Error::kResult);
  // Factors of "valid" reach eight along each axis.
  const double spread = p.normalization == Normalization::kValid ? 64 : 1;
  compare("box gradient", got.boxes_grad, want.boxes_grad, edge_magnitudes(p, b, sums),
          Error::kSums * spread, 0);
}

// Whatever the boxes, results are finite and nothing leaves its memory.
template <typename T, typename TBox>
void check_hostile(std::mt19937& random, const BoxConvProblem& p, const GpuLimits& limits) {
  std::vector<T> input(p.batch * p.height * p.width * p.channels), output_grad(outputs(p));
  fill(random, &input);
  fill(random, &output_grad);
  const Results got =
      emulated<T, TBox>(p, limits, input, random_boxes<TBox>(random, p, true), output_grad);
  for (double entry : got.output) expect(std::isfinite(entry), "finite output", entry, 0, 0);
  for (double entry : got.input_grad) expect(std::isfinite(entry), "finite gradient", entry, 0, 0);
}

// A NaN or infinity, in the input or in the upstream gradient, reaches what it reaches on the CPU,
// and nothing else.
void check_containment(std::mt19937& random, const BoxConvProblem& p, const GpuLimits& limits) {
  std::vector<float> input(p.batch * p.height * p.width * p.channels), output_grad(outputs(p));
  fill(random, &input);
  fill(random, &output_grad);
  const auto boxes = random_boxes<float>(random, p, false);
  for (const bool upstream : {false, true}) {
    auto spoilt_input = input, spoilt_grad = output_grad;
    std::vector<float>& spoilt = upstream ? spoilt_grad : spoilt_input;
    spoilt[random() % spoilt.size()] = std::numeric_limits<float>::quiet_NaN();
    spoilt[random() % spoilt.size()] = std::numeric_limits<float>::infinity();
    std::vector<float> output(output_grad.size()), input_grad(input.size()), edges(boxes.size());
    boxconv::box_conv_forward(p, spoilt_input.data(), boxes.data(), output.data(), serial);
    boxconv::box_conv_backward(p, spoilt_input.data(), boxes.data(), spoilt_grad.data(),
                               input_grad.data(), edges.data(), serial);
    const Results got = emulated<float, float>(p, limits, spoilt_input, boxes, spoilt_grad);
    for (std::size_t i = 0; i < output.size(); ++i) {
      expect(std::isfinite(got.output[i]) == std::isfinite(output[i]), "containment", got.output[i],
             output[i], 0);
    }
    for (std::size_t i = 0; i < input_grad.size(); ++i) {
      expect(std::isfinite(got.input_grad[i]) == std::isfinite(input_grad[i]),
             "containment of the gradient", got.input_grad[i], input_grad[i], 0);
    }
  }
}

// Bright planes with a spike: errors stay small beside the mean magnitude in the box.
void check_precision(std::mt19937& random, const GpuLimits& limits, Layout layout) {
  BoxConvProblem p;
  p.batch = 1;
  p.height = 301;
  p.width = 400;
  p.channels = 1;
  p.boxes_per_channel = 4;
  p.layout = layout;
  std::vector<float> input(p.height * p.width), output_grad(outputs(p));
  fill(random, &input);
  for (float& entry : input) entry += 1000;
  input[4711] = 1e6;
  const std::vector<float> boxes = {-0.5f,  -0.5f,  0.5f,   0.5f,   -9.2f, -13.1f, 8.f,  17.5f,
                                    -150.f, -300.f, 149.5f, 290.3f, -1.5f, -300.f, 1.5f, 300.f};
  const Results want = expected(p, widened(input), widened(boxes), widened(output_grad));
  const Results got = emulated<float, float>(p, limits, input, boxes, output_grad);
  compare("precision", got.output, want.output, want.output, 1e-6, 0);
}

template <typename T, typename TTable>
void check_integral_image(std::mt19937& random, GpuLimits limits) {
  limits.parts = random() % 2 ? 16 : 2048;
  IntegralImageProblem p;
  p.batch = random() % 4;
  p.height = random() % 40;
  p.width = random() % 70;
  p.channels = random() % 12;
  p.layout = random() % 2 ? Layout::kChannelsLast : Layout::kChannelsFirst;
  std::vector<T> input(p.batch * p.height * p.width * p.channels);
  fill(random, &input);
  const Index entries = p.batch * (p.height + 1) * (p.width + 1) * p.channels;
  std::vector<TTable> want(entries);
  boxconv::integral_image(p, input.data(), want.data(), serial);
  auto table = garbage<TTable>(entries);
  using Launcher = IntegralImageLauncher<T, TTable, EmulatedDevice>;
  auto workspace = garbage<char>(static_cast<Index>(Launcher(p, limits).workspace_size()) + 1);
  EmulatedDevice device;
  const Launcher launcher(p, limits, workspace.data());
  launcher.run(device, input.data(), table.data());
  if (launcher.plan().by_tiles) ++tiled_tables;
  const double allowed = sizeof(TTable) == 4 ? 1e-4 : 1e-10;
  for (Index i = 0; i < entries; ++i) {
    expect(std::abs(table[i] - want[i]) <= allowed, "table", table[i], want[i], allowed);
  }
}

void check_empty_problems() {
  for (int axis = 0; axis < 5; ++axis) {
    BoxConvProblem p;
    p.batch = axis != 0;
    p.height = axis == 1 ? 0 : 3;
    p.width = axis == 2 ? 0 : 4;
    p.channels = axis == 3 ? 0 : 2;
    p.boxes_per_channel = axis != 4;
    const std::vector<float> input(p.batch * p.height * p.width * p.channels),
        output_grad(outputs(p)), boxes(p.out_channels() * 4);
    const Results got = emulated<float, float>(p, GpuLimits(), input, boxes, output_grad);
    for (double entry : got.input_grad) expect(entry == 0, "gradient of nothing", entry, 0, 0);
    for (double entry : got.boxes_grad) expect(entry == 0, "gradient of nothing", entry, 0, 0);
  }
}

}  // namespace

int main() {
  std::mt19937 random(20190626);
  for (int i = 0; i < 16; ++i) {
    const Index longest = i % 4 == 0 ? 40 : 18;
    const auto problem = [&] { return random_problem(random, longest); };
    check_problem<float, float>(random, problem(), random_limits(random));
    check_problem<double, double>(random, problem(), random_limits(random));
    check_problem<Half, float>(random, problem(), random_limits(random));
    check_problem<BFloat16, float>(random, problem(), random_limits(random));
    check_hostile<float, float>(random, problem(), random_limits(random));
    check_hostile<double, double>(random, problem(), random_limits(random));
    check_containment(random, problem(), random_limits(random));
    check_integral_image<float, float>(random, random_limits(random));
    check_integral_image<Half, double>(random, random_limits(random));
    check_integral_image<double, double>(random, random_limits(random));
    check_integral_image<BFloat16, float>(random, random_limits(random));
  }
  for (int i = 0; i < 10; ++i) {
    GpuLimits limits;
    const BoxConvProblem problem = problem_of_strips(random, &limits);
    check_problem<float, float>(random, problem, limits);
    check_problem<BFloat16, float>(random, problem, limits);
    if (i % 4 == 0) check_containment(random, problem, limits);
  }
  for (int i = 0; i < 24; ++i) {
    const Index chunks = i % 6 == 0 ? 31 : i % 3 == 0 ? 7 : i % 6;
    check_problem<float, float>(
        random, problem_of_chunks(random, boxconv::cuda::kChunk<float>, chunks), GpuLimits());
    check_problem<double, double>(
        random, problem_of_chunks(random, boxconv::cuda::kChunk<double>, chunks), GpuLimits());
  }
  for (const Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst}) {
    check_precision(random, random_limits(random), layout);
  }
  GpuLimits large;  // as an H100 has
  large.shared_bytes = 227 << 10;
  BoxConvProblem full{1, 114, 121, 4, 1};
  full.normalization = Normalization::kArea;
  check_problem<float, float>(random, full, large);
  check_empty_problems();
  for (const int problems : {fused_problems, tiled_problems, shared_row_problems,
                             workspace_row_problems, tiled_tables}) {
    expect(problems > 20, "problems of each kind", problems, 20, 0);
  }
  std::printf(
      "CUDA kernels, emulated: %d fused, %d tiled, %d by lines, %d of them without shared memory; ",
      fused_problems, tiled_problems, shared_row_problems + workspace_row_problems,
      workspace_row_problems);
  std::printf("%d failures\n", failures);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
