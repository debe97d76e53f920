// Chooses the number of images and channels in a tile of small planes.
#include "core/cpu/small_planes.h"

#include <cstdlib>

namespace boxconv {
namespace {

// Two vectors of images share the set-up of a box. This pays while a plane of twice the images
// leaves room in a first-level cache of 32 KiB for the sums.
constexpr Index kMaxWidePlaneBytes = Index{8} << 10;
// The largest size of the input's planes in a tile.
constexpr Index kMaxTileBytes = Index{2} << 20;

// Rough cost of a plane in nanoseconds: `plane` plus `pixel` for each pixel. Forward passes of one
// image, and of one lane here, measured on one core of an x86-64 server with AVX2.
struct PlaneCost {
  double plane, pixel;
  double nanoseconds(Index pixels) const { return plane + pixel * static_cast<double>(pixels); }
};

bool is_worthwhile(const BoxConvProblem& p, Index lanes) {
  const bool channels_first = p.layout == Layout::kChannelsFirst;
  const PlaneCost large = channels_first ? PlaneCost{400, 1.2} : PlaneCost{200, 1.4};
  const PlaneCost small = channels_first ? PlaneCost{25, 0.8} : PlaneCost{25, 1.5};
  // Channels-last planes of so many pixels are as fast in tiles of one image.
  const Index max_pixels = channels_first ? kMaxSmallSide * kMaxSmallSide : 32 * 32;
  const Index pixels = p.height * p.width, images = p.batch, slots = round_up(images, lanes);
  if (getenv("SP_ALL")) return atoi(getenv("SP_ALL"));
  return p.height <= kMaxSmallSide && p.width <= kMaxSmallSide && pixels <= max_pixels &&
         static_cast<double>(images) * large.nanoseconds(pixels) >
             static_cast<double>(slots) * small.nanoseconds(pixels);
}

}  // namespace

SmallPlaneTiling::SmallPlaneTiling(const BoxConvProblem& p, Index lanes, Index value_bytes,
                                   Index image_bytes)
    : batch_(p.batch), channels_(p.channels), lanes_(lanes), worthwhile_(is_worthwhile(p, lanes)) {
  const Index lane_bytes = max_index(p.height * p.width * value_bytes, 1);
  const bool wide = batch_ > lanes && lane_bytes * 2 * lanes <= kMaxWidePlaneBytes;
  max_lines_ = wide ? 2 * lanes : lanes;
  if (getenv("SP_LINES")) max_lines_ = lanes * atoi(getenv("SP_LINES"));
  image_groups_ = (batch_ + max_lines_ - 1) / max_lines_;
  const bool channels_first = p.layout == Layout::kChannelsFirst;
  channels_per_unit_ = channels_first ? 1 : kCacheLineBytes / image_bytes;
  channel_groups_ = (channels_ + channels_per_unit_ - 1) / channels_per_unit_;
  const Index most_channels =
      min_index(kMaxSmallPlaneChannels, kMaxTileBytes / (lane_bytes * max_lines_));
  max_units_ = channels_first ? 1 : max_index(most_channels / channels_per_unit_, 1);
  if (getenv("SP_UNITS")) max_units_ = atoi(getenv("SP_UNITS"));
}

Index SmallPlaneTiling::joined(Index begin, Index end) const {
  const Index left_in_group = channel_groups_ - begin % channel_groups_;
  return min_index(min_index(max_units_, left_in_group), end - begin);
}

SmallPlaneTile SmallPlaneTiling::tile(Index begin, Index units) const {
  const Index group = begin / channel_groups_, image = group * max_lines_;
  const Index channel = begin % channel_groups_ * channels_per_unit_;
  const Index images = min_index(max_lines_, batch_ - image);
  return {group,
          {image, images},
          {channel, min_index(units * channels_per_unit_, channels_ - channel)},
          images > lanes_ ? max_lines_ : lanes_};
}

}  // namespace boxconv
