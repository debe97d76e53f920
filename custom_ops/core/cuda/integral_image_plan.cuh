// Divides the integral images of a problem into blocks and tiles on a GPU.
//
// A unit of work is the planes of a group of neighbouring channels of one image.
#ifndef BOXCONV_CORE_CUDA_INTEGRAL_IMAGE_PLAN_CUH_
#define BOXCONV_CORE_CUDA_INTEGRAL_IMAGE_PLAN_CUH_

#include "core/base/problem.h"
#include "core/cuda/box_conv_plan.h"
#include "core/cuda/platform.cuh"

namespace boxconv {
namespace cuda {

struct IntegralImagePlan {
  IntegralImageProblem problem;
  bool by_tiles = false;        // false: a block takes whole planes; true: single tiles
  int group = 1;                // largest number of channels in a group
  Index groups = 0;             // channel groups of an image
  int columns = 64, rows = 32;  // of a tile
  int blocks = 0;               // unless by_tiles: blocks of the launch
  // If by_tiles: units that are computed together. The workspace holds the TileBorders of this
  // many.
  Index units_at_once = 1;

  BOXCONV_HOST_DEVICE bool channels_last() const { return problem.layout == Layout::kChannelsLast; }
  BOXCONV_HOST_DEVICE int threads() const { return group * columns; }
  // Odd, to avoid bank conflicts.
  BOXCONV_HOST_DEVICE int row_stride() const { return columns + 1; }
  BOXCONV_HOST_DEVICE Index units() const { return problem.batch * groups; }
  BOXCONV_HOST_DEVICE Index tiles_across() const { return (problem.width + columns - 1) / columns; }
  BOXCONV_HOST_DEVICE Index tiles_down() const { return (problem.height + rows - 1) / rows; }
  BOXCONV_HOST_DEVICE Index tiles_of_unit() const { return tiles_across() * tiles_down(); }
  BOXCONV_HOST_DEVICE bool has_channel(Index unit, Index channel_of_unit) const {
    return unit % groups * group + channel_of_unit < problem.channels;
  }
  int shared_bytes() const {
    return group * rows * row_stride() * static_cast<int>(sizeof(double));
  }
};

template <typename T>
IntegralImagePlan integral_image_plan(const IntegralImageProblem& p, const GpuLimits& limits) {
  IntegralImagePlan plan;
  plan.problem = p;
  const int sector_channels =
      p.layout == Layout::kChannelsLast ? kSector / static_cast<int>(sizeof(T)) : 1;
  plan.group =
      plan_detail::power_of_two_at_least(p.channels, sector_channels < 8 ? sector_channels : 8);
  plan.columns = plan_detail::power_of_two_at_least(p.width, 128 / plan.group);
  plan.rows = plan_detail::power_of_two_at_least(p.height, 256 / plan.group);
  const auto halve = [](int* value) {
    if (*value > 1) *value /= 2;
  };
  while (plan.shared_bytes() > limits.shared_bytes / 4 && plan.rows * plan.columns > 1) {
    halve(plan.rows > plan.columns ? &plan.rows : &plan.columns);
  }
  plan.groups = (p.channels + plan.group - 1) / plan.group;
  // Blocks that run at the same time: on one multiprocessor, and on the whole device, where
  // limits.parts is 16 times the number of multiprocessors.
  const Index blocks_per_processor =
      min_index(16, (limits.shared_bytes + limits.reserved_bytes) /
                        (plan.shared_bytes() + limits.reserved_bytes));
  const Index resident_blocks = max_index(limits.parts / 16 * blocks_per_processor, 1);
  // If a row spans several tiles, each block needs workspace for row sums. To save workspace, the
  // launch then has at most as many blocks as run at the same time.
  const Index max_blocks = plan.columns < p.width ? resident_blocks : limits.max_blocks;
  plan.blocks = static_cast<int>(min_index(plan.units(), max_blocks));
  const Index tiles = plan.tiles_of_unit();
  plan.by_tiles = tiles > 1 && plan.units() < resident_blocks;
  plan.units_at_once =
      max_index(min_index(plan.units(), 4 * limits.parts / max_index(tiles, 1)), 1);
  return plan;
}

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_INTEGRAL_IMAGE_PLAN_CUH_
