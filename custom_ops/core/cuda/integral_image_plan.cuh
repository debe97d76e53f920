// How the integral images of a problem are divided into blocks and tiles on a GPU.
#ifndef BOXCONV_CORE_CUDA_INTEGRAL_IMAGE_PLAN_CUH_
#define BOXCONV_CORE_CUDA_INTEGRAL_IMAGE_PLAN_CUH_

#include "core/base/problem.h"
#include "core/cuda/box_conv_plan.h"
#include "core/cuda/platform.cuh"

namespace boxconv {
namespace cuda {

struct IntegralImagePlan {
  IntegralImageProblem problem;
  int group = 1;                // channels of a unit
  int columns = 64, rows = 32;  // of a tile
  Index groups = 0;             // channel groups of an image
  int blocks = 0;               // whole planes: blocks of the launch
  bool by_tiles = false;        // tiles instead of whole planes
  Index bunch = 1;              // tiles: units whose borders are in the workspace at a time

  BOXCONV_HOST_DEVICE bool channels_last() const { return problem.layout == Layout::kChannelsLast; }
  BOXCONV_HOST_DEVICE int threads() const { return group * columns; }
  // Odd, to avoid bank conflicts.
  BOXCONV_HOST_DEVICE int row_stride() const { return columns + 1; }
  // A unit is the planes of a group of channels of one image.
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
  const int sector = p.layout == Layout::kChannelsLast ? kSector / static_cast<int>(sizeof(T)) : 1;
  plan.group = plan_detail::power_of_two_from(p.channels, sector < 8 ? sector : 8);
  plan.columns = plan_detail::power_of_two_from(p.width, 128 / plan.group);
  plan.rows = plan_detail::power_of_two_from(p.height, 256 / plan.group);
  const auto halve = [](int* value) {
    if (*value > 1) *value /= 2;
  };
  while (plan.shared_bytes() > limits.shared_bytes / 4 && plan.rows * plan.columns > 1) {
    halve(plan.rows > plan.columns ? &plan.rows : &plan.columns);
  }
  plan.groups = (p.channels + plan.group - 1) / plan.group;
  // Blocks that run on the device at the same time. limits.parts is 16 times its multiprocessors.
  const Index resident = min_index(16, (limits.shared_bytes + limits.reserved_bytes) /
                                           (plan.shared_bytes() + limits.reserved_bytes));
  const Index most = max_index(limits.parts / 16 * resident, 1), tiles = plan.tiles_of_unit();
  // If a row spans several tiles, each block needs a workspace for row sums. Then there are no more
  // blocks than run at the same time.
  plan.blocks =
      static_cast<int>(min_index(plan.units(), plan.columns < p.width ? most : limits.max_blocks));
  plan.by_tiles = tiles > 1 && plan.units() < most;
  plan.bunch = max_index(min_index(plan.units(), 4 * limits.parts / max_index(tiles, 1)), 1);
  return plan;
}

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_INTEGRAL_IMAGE_PLAN_CUH_
