// Chooses the rows and channels of tiles on large planes, and whether threads share them.
#include "core/cpu/large_planes.h"

namespace boxconv {
namespace {

// Planes with at least this many rows or columns are large.
constexpr Index kMinLargeSide = 201;
// The width of a strip of columns (running_sums.h).
constexpr Index kMinLargeWidth = 16;
// The number of tiles that is enough to share them evenly among threads, and the number below which
// threads share a tile.
constexpr Index kEnoughTiles = 16;
constexpr Index kFewTiles = 4;
// The largest number of values in the ring buffers of a shared tile, of another tile with several
// channels, and of one with whole cache lines of channels. The last should fit in the third-level
// cache.
constexpr Index kMaxSharedRingValues = Index{16} << 20;
constexpr Index kMaxRingValues = Index{8} << 20;
constexpr Index kMaxWholeLineRingValues = Index{2} << 20;
constexpr Index kWholeLine = kCacheLineBytes / sizeof(float);
// The number of results in a step of a shared tile: so many that starting the threads costs little.
constexpr Index kSharedStepValues = Index{1} << 20;

// The largest power of two up to `count`, which must be positive.
Index power_of_two_within(Index count) {
  Index power = 1;
  while (power * 2 <= count) power *= 2;
  return power;
}

// Whole rows, of the whole width. Rows within reach of two tiles are read twice, and each tile
// first sums the rows above its first output. If tiles have one thread each, they therefore have
// several times as many rows as the boxes reach, except that there are at least two tiles. Their
// number is a power of two, which most numbers of threads can share evenly.
//
// If the boxes reach across most of the plane and there are few groups of channels, a tile has all
// rows, and all threads share it. Channels-first tiles, of one channel each, need not be shared.
// The rows of a tile do not depend on the layout, so that the results do not either.
LargePlanesPlan plan_of(const BoxConvProblem& p, Index out_height, Index out_width, Index stride_y,
                        Index stride_x, const BoxReach& reach, Index planes_per_channel) {
  const bool channels_last = p.layout == Layout::kChannelsLast;
  const Index reach_rows = min_index(reach.bottom - reach.top + 1, p.height);
  const Index values = reach_rows * p.width * planes_per_channel;
  const Index most = p.height / max_index(64, 4 * reach_rows);
  const auto plan = [&](Index channels, Index count, bool shared) {
    const Index length = round_up((out_height + count - 1) / count, kMaxGroupRows);
    const Index step = kSharedStepValues / (out_width * planes_per_channel * channels);
    return LargePlanesPlan{
        Tiling(p, AxisTiling(out_height, stride_y, reach.top, reach.bottom, p.height, length),
               AxisTiling(out_width, stride_x, reach.left, reach.right, p.width, out_width),
               channels_last ? channels : 1),
        shared, shared ? max_index(step / kMaxGroupRows, 1) * kMaxGroupRows : kMaxGroupRows};
  };
  const auto groups = [&](Index channels) {
    return p.batch * ((p.channels + channels - 1) / channels);
  };

  const Index shared = channels_within(p.channels, values, kMaxSharedRingValues, kWholeLine);
  if (shared > 1 && groups(shared) < kFewTiles && 4 * reach_rows > 3 * p.height) {
    return plan(shared, 1, channels_last);
  }

  const bool whole_lines = kWholeLine * values <= kMaxWholeLineRingValues;
  const Index channels = channels_within(p.channels, values, kMaxRingValues,
                                         whole_lines ? kWholeLine : kWholeLine / 2);
  const Index wanted = (kEnoughTiles + groups(channels) - 1) / groups(channels);
  const Index allowed = max_index(most, groups(channels) > 1 ? 1 : 2);
  return plan(channels, power_of_two_within(min_index(allowed, wanted)), false);
}

}  // namespace

bool has_large_planes(const BoxConvProblem& p) {
  return max_index(p.height, p.width) >= kMinLargeSide && p.width >= kMinLargeWidth;
}

LargePlanesPlan large_planes_forward_plan(const BoxConvProblem& p, const BoxReach& reach) {
  return plan_of(p, p.out_height(), p.out_width(), p.stride_y, p.stride_x, reach, 1);
}

LargePlanesPlan large_planes_backward_plan(const BoxConvProblem& p, const BoxReach& reach) {
  return plan_of(p, p.height, p.width, 1, 1, reach, p.boxes_per_channel);
}

}  // namespace boxconv
