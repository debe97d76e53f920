// Plans the kernels for small planes of many images. Every box is the same for all images of a
// batch, so these kernels put images in the lanes. A tile is a group of neighbouring images and of
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

// No side of a small plane is longer.
constexpr Index kMaxSmallSide = 64;

struct SmallPlaneTile {
  Index image_group;
  Span images, channels;
  Index lines;  // lanes for the images: at least images.count
};

class SmallPlaneTiling {
 public:
  // `lanes` is the number of values V in a vector. A tile has up to two vectors of images.
  SmallPlaneTiling(const BoxConvProblem& p, Index lanes, Index value_bytes, Index image_bytes);

  // Whether the kernels for small planes are faster than those for tiles of one image.
  bool worthwhile() const { return worthwhile_; }
  Index count() const { return image_groups_ * channel_groups_; }
  Index image_groups() const { return image_groups_; }
  Index channels_per_tile() const { return channels_per_tile_; }
  Index max_lines() const { return max_lines_; }
  SmallPlaneTile at(Index index) const;

 private:
  Index batch_, channels_, lanes_, max_lines_, channels_per_tile_, image_groups_, channel_groups_;
  bool worthwhile_;
};

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_SMALL_PLANES_H_
