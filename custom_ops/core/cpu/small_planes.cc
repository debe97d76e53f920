// Chooses the number of channels in a tile of small planes, and when to use such tiles.
#include "core/cpu/small_planes.h"

namespace boxconv {
namespace {

// The input planes of a tile with several units take at most this much memory.
constexpr Index kMaxTileBytes = Index{2} << 20;
// Planes with more pixels are as fast in tiles of one image, if they are channels-last.
constexpr Index kMaxSmallPixels = 32 * 32;

// Rough cost of a channels-last plane in nanoseconds: `plane`, and `pixel` for each pixel. Measured
// on one core of an x86-64 server with AVX2, forward.
struct PlaneCost {
  double plane, pixel;
  double nanoseconds(Index pixels) const { return plane + pixel * static_cast<double>(pixels); }
};
constexpr PlaneCost kInTiles{200, 1.4}, kInLanes{25, 1.5};

// Does not depend on the layout, so that results have the same bits in either layout.
bool is_worthwhile(const BoxConvProblem& p, Index lanes) {
  const Index pixels = p.height * p.width;
  if (p.height > kMaxSmallSide || p.width > kMaxSmallSide || pixels > kMaxSmallPixels) return false;
  // Images and channels that fill up the last vectors cost as much as others.
  const Index padded_planes = round_up(p.batch, lanes) * round_up(p.channels, lanes);
  return static_cast<double>(p.batch * p.channels) * kInTiles.nanoseconds(pixels) >
         static_cast<double>(padded_planes) * kInLanes.nanoseconds(pixels);
}

}  // namespace

SmallPlaneTiling::SmallPlaneTiling(const BoxConvProblem& p, Index lanes, Index value_bytes,
                                   Index image_bytes)
    : batch_(p.batch), channels_(p.channels), lanes_(lanes), worthwhile_(is_worthwhile(p, lanes)) {
  const bool channels_first = p.layout == Layout::kChannelsFirst;
  channels_per_unit_ = channels_first ? 1 : kCacheLineBytes / image_bytes;
  channel_groups_ = (channels_ + channels_per_unit_ - 1) / channels_per_unit_;
  const Index channel_bytes = max_index(p.height * p.width, 1) * lanes * value_bytes;
  const Index channels = min_index(kMaxSmallPlaneChannels, kMaxTileBytes / channel_bytes);
  max_units_ = channels_first ? 1 : max_index(channels / channels_per_unit_, 1);
}

Index SmallPlaneTiling::joined_units(Index begin, Index end) const {
  const Index left_in_group = channel_groups_ - begin % channel_groups_;
  return min_index(min_index(max_units_, left_in_group), end - begin);
}

SmallPlaneTile SmallPlaneTiling::tile(Index begin, Index units) const {
  const Index group = begin / channel_groups_, image = group * lanes_;
  const Index channel = begin % channel_groups_ * channels_per_unit_;
  return {group,
          {image, min_index(lanes_, batch_ - image)},
          {channel, min_index(units * channels_per_unit_, channels_ - channel)}};
}

}  // namespace boxconv
