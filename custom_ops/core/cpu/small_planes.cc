// Chooses the number of images and channels in a tile of small planes.
#include "core/cpu/small_planes.h"

#include <cstdlib>

namespace boxconv {

SmallPlaneTiling::SmallPlaneTiling(const BoxConvProblem& p, Index lanes, Index value_bytes,
                                   Index image_bytes)
    : batch_(p.batch), channels_(p.channels), lanes_(lanes) {
  max_lines_ = p.batch > lanes ? 2 * lanes : lanes;
  channels_per_tile_ = min_index(kCacheLineBytes / image_bytes, channels_);
  if (getenv("SP_CH")) channels_per_tile_ = atoi(getenv("SP_CH"));
  if (getenv("SP_LINES")) max_lines_ = lanes * atoi(getenv("SP_LINES"));
  image_groups_ = (batch_ + max_lines_ - 1) / max_lines_;
  channel_groups_ = channels_per_tile_ > 0 ? (channels_ + channels_per_tile_ - 1) / channels_per_tile_ : 0;
  const Index pixels = p.height * p.width;
  worthwhile_ = !getenv("SP_OFF") && p.batch >= 5 && pixels <= (getenv("SP_MAX") ? atoi(getenv("SP_MAX")) : 32 * 32);
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
