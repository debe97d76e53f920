// Chooses the number of channels in a tile of small planes, and when to use such tiles.
#include "core/cpu/small_planes.h"

namespace boxconv {
namespace {

// The input planes of a tile with several units take at most this much memory.
constexpr Index kMaxTileBytes = Index{2} << 20;
// Channels-last planes with more pixels are as fast in tiles of one image.
constexpr Index kMaxChannelsLastPixels = 32 * 32;

// Rough cost of a plane in nanoseconds: `plane`, and `pixel` for each pixel. Measured on one core
// of an x86-64 server with AVX2, forward.
struct PlaneCost {
  double plane, pixel;
  double nanoseconds(Index pixels) const { return plane + pixel * static_cast<double>(pixels); }
};

bool is_worthwhile(const BoxConvProblem& p, Index lanes) {
  const bool channels_first = p.layout == Layout::kChannelsFirst;
  const Index pixels = p.height * p.width;
  if (p.height > kMaxSmallSide || p.width > kMaxSmallSide) return false;
  if (!channels_first && pixels > kMaxChannelsLastPixels) return false;
  const PlaneCost in_tiles = channels_first ? PlaneCost{400, 1.2} : PlaneCost{200, 1.4};
  const PlaneCost in_lanes = channels_first ? PlaneCost{25, 0.8} : PlaneCost{25, 1.5};
  // Images and channels that fill up the last vectors cost as much as others.
  const Index padded_channels = channels_first ? p.channels : round_up(p.channels, lanes);
  const Index padded_planes = round_up(p.batch, lanes) * padded_channels;
  return static_cast<double>(p.batch * p.channels) * in_tiles.nanoseconds(pixels) >
         static_cast<double>(padded_planes) * in_lanes.nanoseconds(pixels);
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
