// Random problems for the emulated CUDA kernels, and limits of devices with so little shared memory
// and so few threads that small problems have every kind of plan.
#ifndef BOXCONV_TESTS_CORE_CUDA_PROBLEMS_H_
#define BOXCONV_TESTS_CORE_CUDA_PROBLEMS_H_

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "core/base/half.h"
#include "core/base/problem.h"
#include "core/cuda/box_conv_plan.h"

namespace boxconv {
namespace cuda {

// Memory of exactly this size, filled with NaNs.
template <typename T>
std::vector<T> uninitialized(Index count) {
  std::vector<T> values(static_cast<std::size_t>(count));
  if (count > 0) std::memset(static_cast<void*>(values.data()), 0xff, values.size() * sizeof(T));
  return values;
}

// Values between -1 and 1.
template <typename T>
std::vector<T> random_values(std::mt19937& random, Index count) {
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T& value : values) value = convert<T>(uniform(random));
  return values;
}

template <typename T>
std::vector<double> to_double(const std::vector<T>& values) {
  std::vector<double> wide;
  for (T value : values) wide.push_back(widen(value));
  return wide;
}

inline std::vector<double> magnitudes(std::vector<double> values) {
  for (double& value : values) value = std::abs(value);
  return values;
}

inline BoxConvProblem random_problem(std::mt19937& random, Index max_size) {
  BoxConvProblem p;
  p.batch = 1 + random() % 3;
  p.height = 1 + random() % max_size;
  p.width = 1 + random() % max_size;
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
  if (random() % 4 == 0) {  // whole packets of pixels or channels
    p.channels = 8 * (1 + random() % 2);
    p.width = (p.width + 7) / 8 * 8;
  }
  return p;
}

// Limits of devices on which some lines fit in shared memory and others do not.
inline GpuLimits random_limits(std::mt19937& random) {
  const int shared_bytes[] = {4000, 8000, 12000, 48 << 10};
  GpuLimits limits;
  limits.shared_bytes = shared_bytes[random() % 4];
  limits.max_threads = random() % 4 ? 64 : random() % 2 ? 32 : 256;
  limits.max_blocks = 1 + random() % 40;
  limits.resident_blocks = 1 + random() % 5;
  limits.chunk_bytes = random() % 3 ? 1 + random() % 20000 : 1 << 20;
  return limits;
}

// A problem whose lines have about a whole number of octets (8 pixels), or of segments (64).
inline BoxConvProblem problem_of_parts(std::mt19937& random, Index part, Index parts) {
  BoxConvProblem p;
  const Index length = std::max<Index>(1, part * parts - 2 + random() % 4);
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

// A multiple of 1/8, so that no part of a box inside the image is thinner than that.
inline double random_edge(std::mt19937& random, Index size) {
  std::uniform_real_distribution<double> uniform(-1.3, 1.3);
  const double anywhere = std::round(uniform(random) * static_cast<double>(size) * 8) / 8;
  return random() % 4 == 0 ? std::floor(anywhere) + 0.5 : anywhere;
}

template <typename TBox>
std::vector<TBox> random_boxes(std::mt19937& random, const BoxConvProblem& p) {
  std::vector<TBox> boxes(static_cast<std::size_t>(p.boxes_size()));
  for (std::size_t i = 0; i < boxes.size(); i += 4) {
    for (std::size_t axis = 0; axis < 2; ++axis) {
      const Index size = axis == 0 ? p.height : p.width;
      const double a = random_edge(random, size), b = random_edge(random, size);
      const double min = std::min(a, b);    // sometimes equal: an empty box
      const bool thin = random() % 6 == 0;  // often inside one pixel
      boxes[i + axis] = static_cast<TBox>(min);
      boxes[i + axis + 2] = static_cast<TBox>(thin ? min + 0.125 : std::max(a, b));
    }
  }
  return boxes;
}

// Boxes whose coordinates are replaced, about half of them, by infinite, NaN, huge, tiny and usual
// values.
template <typename TBox>
std::vector<TBox> hostile_boxes(std::mt19937& random, const BoxConvProblem& p) {
  const double infinity = std::numeric_limits<double>::infinity();
  const double edges[] = {infinity, -infinity, std::nan(""), 1e30, -1e30, 1e308, -1e308, 5e-324,
                          1e-200,   4.5e15,    -4.5e15,      9e18, -9e18, 0.5,   -0.5,   1.0};
  std::vector<TBox> boxes = random_boxes<TBox>(random, p);
  for (TBox& edge : boxes) {
    if (random() % 2) edge = static_cast<TBox>(edges[random() % 16]);
  }
  return boxes;
}

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_TESTS_CORE_CUDA_PROBLEMS_H_
