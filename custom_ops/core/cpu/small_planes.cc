// Chooses the number of images and channels in a tile of small planes.
#include "core/cpu/small_planes.h"

#include <cstdlib>

namespace boxconv {
namespace {

// The planes of the input, in a tile with two vectors of images, are at most this large.
constexpr Index kMaxPlaneBytes = Index{256} << 10;
// Larger planes are at least as fast in tiles of one image.
constexpr Index kMaxSmallPixels = 24 * 24;
constexpr Index kSetUpPixels = 100;

}  // namespace

SmallPlaneTiling::SmallPlaneTiling(const BoxConvProblem& p, Index lanes, Index value_bytes,
                                   Index image_bytes)
    : batch_(p.batch), channels_(p.channels), lanes_(lanes) {
  const Index pixels = p.height * p.width;
  channels_per_tile_ = min_index(kCacheLineBytes / image_bytes, channels_);
  const Index plane_bytes = channels_per_tile_ * pixels * value_bytes;
  max_lines_ = p.batch > lanes && plane_bytes * 2 * lanes <= kMaxPlaneBytes ? 2 * lanes : lanes;
  if (getenv("SP_CH")) channels_per_tile_ = atoi(getenv("SP_CH"));
  if (getenv("SP_LINES")) max_lines_ = lanes * atoi(getenv("SP_LINES"));
  image_groups_ = (batch_ + max_lines_ - 1) / max_lines_;
  channel_groups_ =
      channels_per_tile_ > 0 ? (channels_ + channels_per_tile_ - 1) / channels_per_tile_ : 0;
  // The other kernels take as long for kSetUpPixels more pixels in each plane. These take the same
  // time for a group that is not full.
  worthwhile_ = p.height <= kMaxSmallSide && p.width <= kMaxSmallSide &&
                pixels <= kMaxSmallPixels &&
                batch_ * (kSetUpPixels + pixels) > round_up(batch_, lanes) * pixels;
  if (getenv("SP_ALL")) worthwhile_ = atoi(getenv("SP_ALL"));
}

SmallPlaneTile SmallPlaneTiling::at(Index index) const {
  const Index group = index / channel_groups_, image = group * max_lines_;
  const Index channel = index % channel_groups_ * channels_per_tile_;
  const Index images = min_index(max_lines_, batch_ - image);
  return {group,
          {image, images},
          {channel, min_index(channels_per_tile_, channels_ - channel)},
          images > lanes_ ? max_lines_ : lanes_};
}

}  // namespace boxconv
