// Chooses the rows and channels of tiles on large planes.
#include "core/cpu/large_planes.h"

namespace boxconv {
namespace {

// Planes with at least this many rows or columns are large.
constexpr Index kMinLargeSide = 201;
// The width of a strip of columns (running_sums.h).
constexpr Index kMinLargeWidth = 16;
// The number of tiles that is enough to share them evenly among threads.
constexpr Index kEnoughTiles = 16;
// The largest number of values in the ring buffers of a tile with several channels, and of one with
// whole cache lines of channels. The latter should fit in the third-level cache.
constexpr Index kMaxRingValues = Index{8} << 20;
constexpr Index kMaxWholeLineRingValues = Index{2} << 20;
constexpr Index kWholeLine = kCacheLineBytes / sizeof(float);
// The largest number of values in the ring buffers of joined tiles.
constexpr Index kMaxJoinedRingValues = Index{16} << 20;

// The largest power of two below `count`.
Index power_of_two_below(Index count) {
  Index power = 1;
  while (power * 2 < count) power *= 2;
  return power;
}

// Tiles of whole rows. Rows within reach of two tiles are read twice, and each tile first sums the
// rows above its first output. Tiles therefore have several times as many rows as the boxes reach,
// except that there are at least two tiles. If the boxes reach across most of the plane, these two
// have different channels instead of different rows. They then share cache lines, so a thread that
// has both joins them. The split into rows does not depend on the layout, so that the results do
// not either.
Tiling large_tiling(const BoxConvProblem& p, Index out_height, Index out_width, Index stride_y,
                    Index stride_x, const BoxReach& reach, Index planes_per_channel) {
  const Index reach_rows = min_index(reach.bottom - reach.top + 1, p.height);
  const Index values = reach_rows * p.width * planes_per_channel;
  const bool whole_lines = kWholeLine * values <= kMaxWholeLineRingValues;
  Index channels = channels_within(p.channels, values, kMaxRingValues,
                                   whole_lines ? kWholeLine : kWholeLine / 2);
  if (p.batch == 1 && channels == p.channels && channels > 1 && 4 * reach_rows > 3 * p.height) {
    channels = power_of_two_below(channels);
  }
  Index joined = 1;
  while (channels * joined < min_index(p.channels, kWholeLine) &&
         2 * channels * joined * values <= kMaxJoinedRingValues) {
    joined *= 2;
  }
  const Index groups = p.batch * ((p.channels + channels - 1) / channels);
  const Index most = max_index(p.height / max_index(64, 4 * reach_rows), groups > 1 ? 1 : 2);
  const Index wanted = max_index((kEnoughTiles + groups - 1) / groups, 1);
  const Index count = min_index(most, wanted);
  const Index length = round_up((out_height + count - 1) / count, 16);
  return Tiling(p, AxisTiling(out_height, stride_y, reach.top, reach.bottom, p.height, length),
                AxisTiling(out_width, stride_x, reach.left, reach.right, p.width, out_width),
                p.layout == Layout::kChannelsFirst ? 1 : channels,
                p.layout == Layout::kChannelsFirst ? 1 : joined);
}

}  // namespace

bool has_large_planes(const BoxConvProblem& p) {
  return max_index(p.height, p.width) >= kMinLargeSide && p.width >= kMinLargeWidth;
}

Tiling large_planes_forward_tiling(const BoxConvProblem& p, const BoxReach& reach) {
  return large_tiling(p, p.out_height(), p.out_width(), p.stride_y, p.stride_x, reach, 1);
}

Tiling large_planes_backward_tiling(const BoxConvProblem& p, const BoxReach& reach) {
  return large_tiling(p, p.height, p.width, 1, 1, reach, p.boxes_per_channel);
}

}  // namespace boxconv
