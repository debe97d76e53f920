// Plans the kernels for small planes of many images. A box is the same for all images of a batch,
// so these kernels put images in the lanes. A tile is a group of neighbouring images and of
// neighbouring channels, whole planes each.
//
// Like the tiling of large planes (tiling.h), the plan depends only on the problem and the
// instruction set.
#ifndef BOXCONV_CORE_CPU_SMALL_PLANES_H_
#define BOXCONV_CORE_CPU_SMALL_PLANES_H_

#include "core/base/platform.h"
#include "core/base/problem.h"
#include "core/cpu/tiling.h"

namespace boxconv {

// No side of a small plane is longer. Sums of at most this many pixels are accurate enough in
// float32 without the chains of sliding_window.h.
constexpr Index kMaxSmallSide = 64;
// A tile has at most this many channels.
constexpr Index kMaxSmallPlaneChannels = 64;

struct SmallPlaneTile {
  Index image_group;
  Span images, channels;
};

// Threads take units of work. The channels of a unit are one cache line of a channels-last pixel,
// or a single channel of channels-first images. A thread joins neighbouring units of the same
// images to a tile: the more of a pixel is read at a time, the better for the memory. Each channel
// is computed on its own, so the results do not depend on how units are joined.
class SmallPlaneTiling {
 public:
  // `lanes` is the number of images in a group: the number of values in a vector. `value_bytes` is
  // the size of a value in a plane and `image_bytes` that of a value in an image.
  SmallPlaneTiling(const BoxConvProblem& p, Index lanes, Index value_bytes, Index image_bytes);

  // Whether these kernels are faster than those for tiles of one image.
  bool worthwhile() const { return worthwhile_; }
  // The number of images that are computed together: one if these kernels are not worthwhile.
  Index images_at_once() const { return worthwhile_ ? lanes_ : 1; }
  Index image_groups() const { return (batch_ + lanes_ - 1) / lanes_; }
  Index unit_count() const { return image_groups() * channel_groups_; }
  // The number of planes in a unit, including lanes without an image.
  Index planes_per_unit() const { return lanes_ * channels_per_unit_; }
  // The largest number of channels in a tile.
  Index max_channels() const { return max_units_ * channels_per_unit_; }

  // The number of units, from `begin` on and before `end`, that are joined to a tile.
  Index joined_units(Index begin, Index end) const;
  SmallPlaneTile tile(Index begin, Index units) const;

 private:
  Index batch_, channels_, lanes_, channels_per_unit_, channel_groups_, max_units_;
  bool worthwhile_;
};

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_SMALL_PLANES_H_
