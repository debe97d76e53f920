// Compares the CUDA kernels of box convolution, emulated without a GPU, with the CPU kernels in
// double.
#include <sys/mman.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "core/cpu/box_conv.h"
#include "core/cpu/threads.h"
#include "core/cuda/box_conv_launch.cuh"
#include "core/cuda/device.cuh"
#include "cuda_problems.h"

namespace boxconv {
namespace cuda {
namespace {

// The number of axes whose tiles lie in shared memory, and in the workspace.
int tiles_in_shared = 0, tiles_in_workspace = 0;

struct Tolerance {
  double stored;  // of rounding a result to its type, relative to the result
  double sums;    // of a sum, relative to the sum of the magnitudes of its terms
};
template <typename T>
constexpr Tolerance kTolerance{0, 2e-6};
template <>
constexpr Tolerance kTolerance<double>{0, 1e-13};
template <>
constexpr Tolerance kTolerance<Half>{1.0 / 2048, 2e-6};
template <>
constexpr Tolerance kTolerance<BFloat16>{1.0 / 256, 2e-6};

template <typename T, typename TBox>
struct Arguments {
  std::vector<T> input, output_grad;
  std::vector<TBox> boxes;

  Arguments(std::mt19937& random, const BoxConvProblem& p)
      : input(random_values<T>(random, p.input_size())),
        output_grad(random_values<T>(random, p.output_size())),
        boxes(random_boxes<TBox>(random, p)) {}
};

struct Results {
  std::vector<double> output, input_grad, boxes_grad;
};

// The results of the CPU kernels.
template <typename T, typename TBox>
Results on_cpu(const BoxConvProblem& p, const std::vector<T>& input, const std::vector<TBox>& boxes,
               const std::vector<T>& output_grad) {
  std::vector<T> output(output_grad.size()), input_grad(input.size());
  std::vector<TBox> boxes_grad(boxes.size());
  const ParallelFor one_thread = on_threads(1);
  boxconv::box_conv_forward(p, input.data(), boxes.data(), output.data(), one_thread);
  boxconv::box_conv_backward(p, input.data(), boxes.data(), output_grad.data(), input_grad.data(),
                             boxes_grad.data(), one_thread);
  return {to_double(output), to_double(input_grad), to_double(boxes_grad)};
}

// The results of the emulated CUDA kernels. All arrays begin `offset` elements behind an address
// that is aligned for packets.
template <typename T, typename TBox>
Results on_gpu(const BoxConvProblem& p, const GpuLimits& limits, const std::vector<T>& input,
               const std::vector<TBox>& boxes, const std::vector<T>& output_grad, int offset = 0) {
  using Launcher = BoxConvLauncher<T, TBox>;
  Device device(limits);
  const auto moved = [offset](auto values) {
    values.insert(values.begin(), static_cast<std::size_t>(offset), {});
    return values;
  };
  const auto x = moved(input), g = moved(output_grad);
  auto output = uninitialized<T>(p.output_size() + offset);
  auto input_grad = uninitialized<T>(p.input_size() + offset);
  auto boxes_grad = uninitialized<TBox>(p.boxes_size());
  for (const bool backward : {false, true}) {
    const std::size_t bytes = Launcher(device, p, backward).workspace_size();
    auto workspace = uninitialized<char>(static_cast<Index>(bytes) + 1);
    const Launcher launcher(device, p, backward, workspace.data());
    if (backward) {
      launcher.backward(x.data() + offset, boxes.data(), g.data() + offset,
                        input_grad.data() + offset, boxes_grad.data());
    } else {
      launcher.forward(x.data() + offset, boxes.data(), output.data() + offset);
    }
    if (p.output_size() == 0) continue;
    for (const Index length : {p.height, p.width}) {
      const SlidePlan plan = launcher.plan_of(length, 1, backward);
      ++(plan.in_shared ? tiles_in_shared : tiles_in_workspace);
    }
  }
  output.erase(output.begin(), output.begin() + offset);
  input_grad.erase(input_grad.begin(), input_grad.begin() + offset);
  return {to_double(output), to_double(input_grad), to_double(boxes_grad)};
}

void check_close(const std::vector<double>& got, const std::vector<double>& want,
                 const std::vector<double>& magnitude, const Tolerance& tolerance) {
  const double least = tolerance.stored > 0 ? 1e-7 : 1e-30;
  for (std::size_t i = 0; i < want.size(); ++i) {
    CHECK_NEAR(got[i], want[i],
               tolerance.sums * magnitude[i] + tolerance.stored * std::abs(want[i]) + least);
  }
}

// An upper bound of the sum of the magnitudes of the terms of each edge gradient.
std::vector<double> edge_magnitudes(const std::vector<double>& boxes, const Results& sums) {
  double total = 1;
  for (double value : sums.output) total += value;
  std::vector<double> magnitude;
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    const double* box = &boxes[i / 4 * 4];
    const double side = std::max(1e-9, std::min(box[2] - box[0], box[3] - box[1]));
    magnitude.push_back(total * (1 + 1 / side));
  }
  return magnitude;
}

template <typename T, typename TBox>
void check_results(std::mt19937& random, const BoxConvProblem& p, const GpuLimits& limits) {
  const Arguments<T, TBox> a(random, p);
  const auto x = to_double(a.input), g = to_double(a.output_grad), boxes = to_double(a.boxes);
  const Results want = on_cpu(p, x, boxes, g);
  const Results sums = on_cpu(p, magnitudes(x), boxes, magnitudes(g));
  const int offset = random() % 4 == 0 ? 1 : 0;
  const Results got = on_gpu(p, limits, a.input, a.boxes, a.output_grad, offset);
  check_close(got.output, want.output, sums.output, kTolerance<T>);
  check_close(got.input_grad, want.input_grad, sums.input_grad, kTolerance<T>);
  // Edge gradients are not rounded to T. With "valid", the factor may be 8 along each axis, because
  // the part of a box inside the image may be as thin as 1/8 pixel.
  const double factor = p.normalization == Normalization::kValid ? 64 : 1;
  check_close(got.boxes_grad, want.boxes_grad, edge_magnitudes(boxes, sums),
              {0, kTolerance<T>.sums * factor});
}

// Calls check(random, seed) for seeds 1, 2, ..., `count`.
template <typename Check>
void for_each_seed(unsigned count, const Check& check) {
  for (unsigned seed = 1; seed <= count; ++seed) {
    const test::Trace trace("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    check(random, seed);
  }
}

// Every fourth problem is larger.
BoxConvProblem problem_of_seed(std::mt19937& random, unsigned seed) {
  return random_problem(random, seed % 4 == 0 ? 40 : 18);
}

template <typename T, typename TBox>
void check_random_problems() {
  for_each_seed(16, [](std::mt19937& random, unsigned seed) {
    const BoxConvProblem p = problem_of_seed(random, seed);
    check_results<T, TBox>(random, p, random_limits(random));
  });
}

TEST(float32_agrees_with_the_cpu) { check_random_problems<float, float>(); }
TEST(float64_agrees_with_the_cpu) { check_random_problems<double, double>(); }
TEST(float16_agrees_with_the_cpu) { check_random_problems<Half, float>(); }
TEST(bfloat16_agrees_with_the_cpu) { check_random_problems<BFloat16, float>(); }

TEST(lines_of_whole_octets_agree_with_the_cpu) {
  for_each_seed(24, [](std::mt19937& random, unsigned seed) {
    const BoxConvProblem p = seed % 3 == 0 ? problem_of_parts(random, 64, seed % 8)
                                           : problem_of_parts(random, 8, seed % 6);
    check_results<float, float>(random, p, random_limits(random));
    check_results<double, double>(random, p, random_limits(random));
  });
}

// More tiles than add_products has threads.
TEST(edge_gradients_of_many_tiles_agree_with_the_cpu) {
  const BoxConvProblem p{150, 1, 64, 1, 1};
  std::mt19937 random(1);
  check_results<float, float>(random, p, GpuLimits());
}

// A group has 32 boxes, of up to three channels.
TEST(channels_of_more_boxes_than_a_group_agree_with_the_cpu) {
  for_each_seed(4, [](std::mt19937& random, unsigned seed) {
    BoxConvProblem p{1, 5, 6, 3, seed % 2 == 0 ? 33 : 20 + 8 * seed};
    p.layout = seed == 4 ? Layout::kChannelsFirst : Layout::kChannelsLast;
    check_results<float, float>(random, p, random_limits(random));
  });
}

// A line whose positions are almost 2^30 values apart: the fourth is more than 2^31 values behind
// the first. The tensor is address space without memory, except for the pages that are written.
TEST(offsets_of_more_than_2_to_31_values) {
  constexpr int kLength = 4, kStride = (1 << 30) - 1;
  const std::size_t bytes = std::size_t{kLength} * kStride * sizeof(float);
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(memory != MAP_FAILED);
  float* const values = static_cast<float*>(memory);
  for (int i = 0; i < kLength; ++i) values[Index{i} * kStride] = static_cast<float>(1 << i);

  const Window<float> window{0, 1, 0, 1, 1, 1};  // each pixel and the next
  for (const int shared_bytes : {48 << 10, 0}) {
    GpuLimits limits;
    limits.shared_bytes = shared_bytes;
    SlideCall<float, float, float> call;
    call.plan = slide_plan(limits, kLength, 1, 1, sizeof(float), 0);
    std::vector<float> tile(static_cast<std::size_t>(call.plan.tile_bytes) / sizeof(float));
    std::vector<float> sums(kLength);
    call.length = kLength;
    call.lines_per_image = 1;
    call.images = call.boxes = 1;
    call.windows = &window;
    call.source = {values, 1, 1, 1, kStride};
    call.output = {sums.data(), 1, 1, 1, 1};
    call.tiles = tile.data();
    Device device(limits);
    if (call.plan.in_shared) {
      device.launch<slide_lines<Compute::kSums, true, float, float, float>>(
          1, call.plan.threads, call.plan.shared_bytes, call);
    } else {
      device.launch<slide_lines<Compute::kSums, false, float, float, float>>(
          1, call.plan.threads, call.plan.shared_bytes, call);
    }
    CHECK(sums == (std::vector<float>{3, 6, 12, 8}));
  }
  munmap(memory, bytes);
}

// Sanitizers check that nothing is read or written outside the arrays.
template <typename T, typename TBox>
void check_hostile_boxes() {
  for_each_seed(16, [](std::mt19937& random, unsigned seed) {
    const BoxConvProblem p = problem_of_seed(random, seed);
    const Arguments<T, TBox> a(random, p);
    const auto boxes = hostile_boxes<TBox>(random, p);
    const Results got = on_gpu(p, random_limits(random), a.input, boxes, a.output_grad);
    for (double value : got.output) CHECK(std::isfinite(value));
    for (double value : got.input_grad) CHECK(std::isfinite(value));
  });
}

TEST(hostile_float32_boxes_give_finite_results) { check_hostile_boxes<float, float>(); }
TEST(hostile_float64_boxes_give_finite_results) { check_hostile_boxes<double, double>(); }

void check_same_finite(const std::vector<double>& got, const std::vector<double>& want) {
  for (std::size_t i = 0; i < want.size(); ++i) {
    CHECK_EQUAL(std::isfinite(got[i]), std::isfinite(want[i]));
  }
}

// Puts a NaN and an infinity into one of the arguments.
void check_containment(std::mt19937& random, const BoxConvProblem& p, const GpuLimits& limits) {
  for (const bool in_output_grad : {false, true}) {
    Arguments<float, float> a(random, p);
    std::vector<float>& values = in_output_grad ? a.output_grad : a.input;
    values[random() % values.size()] = std::numeric_limits<float>::quiet_NaN();
    values[random() % values.size()] = std::numeric_limits<float>::infinity();
    const Results want = on_cpu(p, a.input, a.boxes, a.output_grad);
    const Results got = on_gpu(p, limits, a.input, a.boxes, a.output_grad);
    check_same_finite(got.output, want.output);
    check_same_finite(got.input_grad, want.input_grad);
  }
}

TEST(nans_and_infinities_reach_the_same_results_as_on_the_cpu) {
  for_each_seed(16, [](std::mt19937& random, unsigned seed) {
    const BoxConvProblem p = problem_of_seed(random, seed);
    check_containment(random, p, random_limits(random));
  });
}

TEST(bright_planes_with_a_spike_lose_no_precision) {
  for (const Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst}) {
    BoxConvProblem p{1, 301, 400, 1, 4};
    p.layout = layout;
    std::mt19937 random(1);
    Arguments<float, float> a(random, p);
    for (float& value : a.input) value += 1000;
    a.input[4711] = 1e6;
    a.boxes = {-0.5f,  -0.5f,  0.5f,   0.5f,   -9.2f, -13.1f, 8.f,  17.5f,
               -150.f, -300.f, 149.5f, 290.3f, -1.5f, -300.f, 1.5f, 300.f};
    const Results want =
        on_cpu(p, to_double(a.input), to_double(a.boxes), to_double(a.output_grad));
    const Results got = on_gpu(p, random_limits(random), a.input, a.boxes, a.output_grad);
    check_close(got.output, want.output, want.output, {0, 1e-6});
  }
}

TEST(empty_problems_have_zero_gradients) {
  for (int axis = 0; axis < 5; ++axis) {
    BoxConvProblem p{1, 3, 4, 2, 1};
    Index* const sizes[] = {&p.batch, &p.height, &p.width, &p.channels, &p.boxes_per_channel};
    *sizes[axis] = 0;
    std::mt19937 random(1);
    const Arguments<float, float> a(random, p);
    const Results got = on_gpu(p, GpuLimits(), a.input, a.boxes, a.output_grad);
    for (double value : got.input_grad) CHECK_EQUAL(value, 0.0);
    for (double value : got.boxes_grad) CHECK_EQUAL(value, 0.0);
  }
}

// Keep this case last: it checks the calls of all other cases.
TEST(the_problems_above_have_tiles_in_shared_memory_and_in_the_workspace) {
  CHECK(tiles_in_shared > 50);
  CHECK(tiles_in_workspace > 50);
}

}  // namespace
}  // namespace cuda
}  // namespace boxconv
