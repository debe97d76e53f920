// Makes the random problem of a seed: its shape, boxes and values.
#include "problem.h"

#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <limits>
#include <utility>

#include "number_types.h"
#include "random.h"

namespace boxconv {
namespace fuzz {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Sizes near a multiple of the number of lanes in a vector, which is also near the number of rows
// in a group and of channels in a tile.
Index size_near_vectors(Random& random) {
  return random.pick<Index>({7, 8, 9, 15, 16, 17, 31, 32, 33});
}
// Sizes near those at which an axis is split into one more tile.
Index size_near_tiles(Random& random) {
  return random.pick<Index>({127, 128, 129, 175, 190, 192, 193, 207, 225, 257, 288, 300});
}

void shape_small(Random& random, BoxConvProblem* p) {
  p->batch = random.chance(0.8) ? 1 : random.between(2, 3);
  p->height = random.between(1, 11);
  p->width = random.between(1, 13);
  p->channels = random.between(1, 5);
  p->boxes_per_channel = random.between(1, 3);
}

// Small planes of many images, which have kernels of their own.
void shape_many_images(Random& random, BoxConvProblem* p) {
  shape_small(random, p);
  p->batch = random.chance(0.5) ? random.pick<Index>({4, 7, 8, 9, 16}) : random.between(2, 12);
  p->channels = random.chance(0.5) ? random.pick<Index>({4, 8, 15, 16, 17, 33}) : p->channels;
  if (p->channels > 5) {
    p->height = std::min<Index>(p->height, 5);
    p->width = std::min<Index>(p->width, 6);
  } else if (random.chance(0.2)) {
    p->height = random.between(1, 4);
    p->width = random.between(12, 40);
    if (random.chance(0.5)) std::swap(p->height, p->width);
  }
}

void shape_near_vectors(Random& random, BoxConvProblem* p) {
  shape_small(random, p);
  p->batch = 1;
  p->boxes_per_channel = random.between(1, 2);
  Index* const sizes[] = {&p->height, &p->width, &p->channels};
  *sizes[random.below(3)] = size_near_vectors(random);
  *sizes[random.below(3)] = size_near_vectors(random);
  if (p->channels > 9) p->height = std::min<Index>(p->height, 9);
}

void shape_many_channels(Random& random, BoxConvProblem* p) {
  p->batch = random.between(1, 2);
  p->height = random.between(1, 4);
  p->width = random.between(1, 5);
  p->channels = random.chance(0.5) ? random.pick<Index>({31, 32, 33, 63, 64, 65, 127, 128, 129})
                                   : random.between(10, 80);
  p->boxes_per_channel = random.between(1, 3);
}

void shape_many_boxes(Random& random, BoxConvProblem* p) {
  shape_small(random, p);
  p->batch = 1;
  p->channels = random.between(1, 3);
  p->boxes_per_channel = random.between(4, 33);
}

void shape_line(Random& random, BoxConvProblem* p) {
  p->batch = random.between(1, 2);
  p->channels = random.between(1, 3);
  p->boxes_per_channel = random.between(1, 2);
  const Index length = random.chance(0.5) ? random.pick<Index>({63, 64, 65, 127, 128, 129, 191})
                                          : random.between(20, 200);
  p->height = p->width = random.chance(0.7) ? 1 : 2;
  (random.chance(0.5) ? p->height : p->width) = length;
}

// Planes of several tiles along one axis, or, less often, along both axes.
void shape_tiles(Random& random, BoxConvProblem* p) {
  p->batch = 1;
  p->channels = random.between(1, 2);
  p->boxes_per_channel = random.between(1, 2);
  p->height = size_near_tiles(random);
  p->width = size_near_tiles(random);
  if (!random.chance(0.2)) (random.chance(0.5) ? p->height : p->width) = random.between(1, 9);
}

// Planes that are large enough for running sums down the columns.
void shape_large_planes(Random& random, BoxConvProblem* p) {
  p->batch = 1;
  p->channels = random.chance(0.9) ? random.between(1, 3) : 17;
  p->boxes_per_channel = random.between(1, 2);
  p->height = random.between(201, 260);
  p->width = random.between(16, 19);
}

// More than 2 MiB of responses in float64, for which the separable box convolution takes the images
// in groups.
void shape_many_responses(Random& random, BoxConvProblem* p) {
  p->batch = random.pick<Index>({2, 5, 12, 20});
  p->channels = random.between(3, 5);
  p->boxes_per_channel = random.between(10, 13);
  const double values = random.uniform(1.1, 1.6) * (2 << 20) / sizeof(double);
  p->width = random.between(20, 40);
  const double row = static_cast<double>(p->batch * p->out_channels() * p->width);
  p->height = static_cast<Index>(values / row) + 1;
}

void shape_empty(Random& random, BoxConvProblem* p) {
  shape_small(random, p);
  Index* const sizes[] = {&p->batch, &p->height, &p->width, &p->channels, &p->boxes_per_channel};
  const Index zeros = random.between(1, 2);
  for (Index i = 0; i < zeros; ++i) *sizes[random.below(5)] = 0;
}

Index make_stride(Random& random) {
  if (random.chance(0.4)) return 1;
  return random.chance(0.9) ? random.between(2, 4) : random.pick<Index>({5, 7, 16, 33, 1000});
}

BoxConvProblem make_shape(Random& random, NumberType type) {
  BoxConvProblem p;
  const double kind = random.uniform(0, 1);
  if (kind < 0.62) {
    shape_small(random, &p);
  } else if (kind < 0.64) {
    shape_large_planes(random, &p);
  } else if (kind < 0.72) {
    shape_many_images(random, &p);
  } else if (kind < 0.82) {
    shape_near_vectors(random, &p);
  } else if (kind < 0.87) {
    shape_many_channels(random, &p);
  } else if (kind < 0.90) {
    shape_many_boxes(random, &p);
  } else if (kind < 0.95) {
    shape_line(random, &p);
  } else if (kind < 0.96) {
    shape_tiles(random, &p);
  } else if (kind < 0.995 || type != NumberType::kFloat64) {
    shape_empty(random, &p);
  } else {
    shape_many_responses(random, &p);
  }
  p.stride_y = make_stride(random);
  p.stride_x = random.chance(0.5) ? p.stride_y : make_stride(random);
  p.layout = random.pick({Layout::kChannelsLast, Layout::kChannelsFirst});
  p.normalization =
      random.pick({Normalization::kNone, Normalization::kArea, Normalization::kValid});
  return p;
}

double hostile_edge(Random& random) {
  return random.pick<double>({kInfinity,
                              -kInfinity,
                              std::nan(""),
                              3e38,
                              -3e38,
                              1e30,
                              -1e30,
                              1e308,
                              -1e308,
                              5e-324,
                              1e-200,
                              -1e-200,
                              1e-42,
                              -1e-42,
                              4.5e15,
                              -4.5e15,
                              4503599627370496.0,
                              9.3e18,
                              -9.3e18,
                              2147483647.5,
                              2147483648.5,
                              -2147483648.5,
                              0.0,
                              -0.0,
                              0.5,
                              -0.5,
                              1e6,
                              -1e6});
}

// How the two edges of a box are chosen along one axis.
enum class EdgeKind { kAnywhere, kOnBorders, kThin, kWholePlane, kOutside, kEmpty, kHostile };

void make_edges(Random& random, EdgeKind kind, Index size, double* low, double* high) {
  const double reach = static_cast<double>(size) + 2;
  *low = random.uniform(-reach, reach);
  *high = *low + random.uniform(0, random.chance(0.5) ? 4 : reach);
  switch (kind) {
    case EdgeKind::kOnBorders:  // multiples of 1/2: on borders of pixels and through their centres
      *low = std::floor(*low) + random.pick({0.0, 0.5});
      *high = *low + std::floor(*high - *low) + random.pick({0.0, 0.5, 1.0});
      break;
    case EdgeKind::kThin:
      if (random.chance(0.5)) *low = std::floor(*low) + 0.5;
      *high = *low + std::pow(10.0, random.uniform(-20, -1));
      break;
    case EdgeKind::kWholePlane:
      *low = -reach - random.uniform(0, 3);
      *high = reach + random.uniform(0, 3);
      break;
    case EdgeKind::kOutside:
      *low += random.pick({-4 * reach, 4 * reach});
      *high = *low + random.uniform(0, reach);
      break;
    case EdgeKind::kEmpty:
      *high = *low - (random.chance(0.5) ? 0 : random.uniform(0, reach));
      break;
    case EdgeKind::kHostile:
      if (random.chance(0.6)) *low = hostile_edge(random);
      if (random.chance(0.6)) *high = hostile_edge(random);
      break;
    default:
      break;
  }
}

EdgeKind pick_edge_kind(Random& random, double hostility) {
  if (random.chance(hostility)) {
    return random.pick({EdgeKind::kThin, EdgeKind::kThin, EdgeKind::kWholePlane, EdgeKind::kOutside,
                        EdgeKind::kEmpty, EdgeKind::kHostile, EdgeKind::kHostile,
                        EdgeKind::kHostile});
  }
  return random.chance(0.3) ? EdgeKind::kOnBorders : EdgeKind::kAnywhere;
}

// Edges are chosen for an axis as long as the plane, or, more often, at most 9 pixels long. Planes
// with large boxes are not divided into tiles.
void make_boxes(Random& random, Problem* problem) {
  const BoxConvProblem& p = problem->shape;
  const double hostility = random.pick({0.0, 0.02, 0.2, 0.6});
  const bool small = random.chance(0.7);
  const Index rows = small ? std::min<Index>(p.height, 9) : p.height;
  const Index columns = small ? std::min<Index>(p.width, 9) : p.width;
  problem->boxes.resize(static_cast<std::size_t>(p.boxes_size()));
  for (std::size_t i = 0; i < problem->boxes.size(); i += 4) {
    double* box = &problem->boxes[i];
    make_edges(random, pick_edge_kind(random, hostility), rows, &box[0], &box[2]);
    make_edges(random, pick_edge_kind(random, hostility), columns, &box[1], &box[3]);
  }
}

// How the values of an array are chosen.
enum class ValueKind {
  kUniform,
  kIntegers,
  kConstant,
  kBright,  // large mean, small differences
  kSpikes,
  kHuge,
  kSubnormal,
  kManyMagnitudes,
  kNonFinite,
  kAnyBits
};

ValueKind pick_value_kind(Random& random) {
  if (random.chance(0.6)) return ValueKind::kUniform;
  return random.pick({ValueKind::kIntegers, ValueKind::kConstant, ValueKind::kBright,
                      ValueKind::kSpikes, ValueKind::kHuge, ValueKind::kSubnormal,
                      ValueKind::kManyMagnitudes, ValueKind::kNonFinite, ValueKind::kNonFinite,
                      ValueKind::kAnyBits});
}

double any_bits(Random& random, Half) {
  return decode(Half{static_cast<std::uint16_t>(random.bits())});
}
double any_bits(Random& random, BFloat16) {
  return decode(BFloat16{static_cast<std::uint16_t>(random.bits())});
}
double any_bits(Random& random, float) {
  return std::ldexp(random.uniform(-1, 1), static_cast<int>(random.between(-150, 128)));
}
double any_bits(Random& random, double) {
  return std::ldexp(random.uniform(-1, 1), static_cast<int>(random.between(-1080, 1024)));
}

template <typename T>
double make_value(Random& random, ValueKind kind) {
  const double uniform = random.uniform(-1, 1);
  switch (kind) {
    case ValueKind::kIntegers:
      return static_cast<double>(random.between(-9, 9));
    case ValueKind::kConstant:
      return 1;
    case ValueKind::kBright:
      return 1000 + uniform;
    case ValueKind::kSpikes:
      return random.chance(0.03) ? 3e4 * uniform : uniform;
    case ValueKind::kHuge:
      return limits<T>().largest * uniform;
    case ValueKind::kSubnormal:
      return limits<T>().smallest * std::floor(8 * uniform);
    case ValueKind::kManyMagnitudes:
      return uniform * std::pow(2.0, random.uniform(-20, 12));
    case ValueKind::kNonFinite:
      return random.chance(0.02) ? random.pick({kInfinity, -kInfinity, std::nan("")}) : uniform;
    case ValueKind::kAnyBits:
      return any_bits(random, T());
    default:
      return uniform;
  }
}

template <typename T>
void make_values(Random& random, Index count, std::vector<double>* values) {
  const ValueKind kind = pick_value_kind(random);
  values->resize(static_cast<std::size_t>(count));
  for (double& value : *values) value = decode(encode<T>(make_value<T>(random, kind)));
}

Index make_filters(Random& random) {
  if (random.chance(0.02)) return 0;
  return random.chance(0.7) ? random.between(1, 9)
                            : random.pick<Index>({15, 16, 17, 24, 31, 32, 33, 63, 64, 65, 67});
}

template <typename T>
void fill(Random& random, Problem* problem) {
  make_boxes(random, problem);
  for (double& edge : problem->boxes) edge = static_cast<typename BoxType<T>::type>(edge);
  make_values<T>(random, problem->shape.input_size(), &problem->input);
  make_values<T>(random, problem->shape.output_size(), &problem->output_grad);
}

// Has random numbers of its own, so that problems keep their other values.
template <typename T>
void fill_separable(Random random, Problem* problem) {
  const SeparableBoxConvProblem p = problem->separable();
  make_values<T>(random, p.kernel_size(), &problem->kernel);
  make_values<T>(random, p.filters, &problem->bias);
  make_values<T>(random, p.output_size(), &problem->mixed_grad);
}

// The random numbers of the separable box convolution.
Random separable_random(std::uint64_t seed) { return Random(seed ^ 0x5eba7ab1e0000000u); }

const char* name_of(NumberType type) {
  const char* const names[] = {"float16", "bfloat16", "float32", "float64"};
  return names[static_cast<int>(type)];
}
const char* name_of(Normalization normalization) {
  const char* const names[] = {"none", "area", "valid"};
  return names[static_cast<int>(normalization)];
}

Index index_of(Layout layout, Index n, Index y, Index x, Index c, Index height, Index width,
               Index channels) {
  return layout == Layout::kChannelsLast ? ((n * height + y) * width + x) * channels + c
                                         : ((n * channels + c) * height + y) * width + x;
}

}  // namespace

Problem make_problem(std::uint64_t seed) {
  Random random(seed);
  Problem problem;
  problem.seed = seed;
  problem.type = random.pick({NumberType::kFloat16, NumberType::kBFloat16, NumberType::kFloat32,
                              NumberType::kFloat32, NumberType::kFloat64});
  problem.misaligned = random.chance(0.3);
  problem.shape = make_shape(random, problem.type);
  Random separable = separable_random(seed);
  problem.filters = make_filters(separable);
  with_type(problem.type, [&](auto t) {
    fill<decltype(t)>(random, &problem);
    fill_separable<decltype(t)>(separable, &problem);
  });
  return problem;
}

Problem make_problem(std::uint64_t seed, NumberType type, const SeparableBoxConvProblem& shape) {
  Random random(seed);
  Problem problem;
  problem.seed = seed;
  problem.type = type;
  problem.misaligned = random.chance(0.3);
  problem.shape = shape.box_conv;
  problem.filters = shape.filters;
  with_type(type, [&](auto t) {
    fill<decltype(t)>(random, &problem);
    fill_separable<decltype(t)>(separable_random(seed), &problem);
  });
  return problem;
}

std::string describe(const Problem& problem, bool boxes) {
  const BoxConvProblem& p = problem.shape;
  char line[400];
  std::snprintf(line, sizeof(line),
                "seed 0x%016" PRIx64
                ": %s%s, %s, batch %lld, plane %lldx%lld, channels %lld, "
                "boxes per channel %lld, filters %lld, strides %lldx%lld, normalization %s",
                problem.seed, name_of(problem.type), problem.misaligned ? " misaligned" : "",
                p.layout == Layout::kChannelsLast ? "channels_last" : "channels_first",
                static_cast<long long>(p.batch), static_cast<long long>(p.height),
                static_cast<long long>(p.width), static_cast<long long>(p.channels),
                static_cast<long long>(p.boxes_per_channel),
                static_cast<long long>(problem.filters), static_cast<long long>(p.stride_y),
                static_cast<long long>(p.stride_x), name_of(p.normalization));
  std::string text = line;
  for (std::size_t i = 0; boxes && i < problem.boxes.size(); i += 4) {
    const double* box = &problem.boxes[i];
    std::snprintf(line, sizeof(line), "\n  box %zu: (%.17g, %.17g, %.17g, %.17g)", i / 4, box[0],
                  box[1], box[2], box[3]);
    text += line;
  }
  return text;
}

Index input_index(const BoxConvProblem& p, Index n, Index y, Index x, Index c) {
  return index_of(p.layout, n, y, x, c, p.height, p.width, p.channels);
}

Index output_index(const BoxConvProblem& p, Index n, Index y, Index x, Index c) {
  return index_of(p.layout, n, y, x, c, p.out_height(), p.out_width(), p.out_channels());
}

Index mixed_index(const SeparableBoxConvProblem& shape, Index n, Index y, Index x, Index f) {
  const BoxConvProblem& p = shape.box_conv;
  return index_of(p.layout, n, y, x, f, p.out_height(), p.out_width(), shape.filters);
}

}  // namespace fuzz
}  // namespace boxconv
