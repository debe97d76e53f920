// Splits a problem into tiles. A tile is a rectangle of rows and columns of one image, for a group
// of neighbouring channels; it is the unit of work that a thread takes.
//
// The tiling depends only on the problem and the instruction set. The results therefore do not
// depend on the number of threads. A tiling is planned once per call and shared by all threads.
#ifndef BOXCONV_CORE_CPU_TILING_H_
#define BOXCONV_CORE_CPU_TILING_H_

#include "core/base/platform.h"
#include "core/base/problem.h"
#include "core/geometry/box_reach.h"

namespace boxconv {

// The range [first, first + count).
struct Span {
  Index first, count;
};

// The rows of the largest group (plane_windows.h) of any type and instruction set.
constexpr Index kMaxGroupRows = 16;

// The forward pass computes the output from the input. The backward pass computes the input
// gradient from the output gradient, spread to the resolution of the input.
struct Tile {
  Index image;
  Index rectangle;  // index in the image, the same for all its channel groups
  Span channels;
  Span rows, columns;                // of the result
  Span source_rows, source_columns;  // that the result depends on
};

// The output channels that belong to a tile.
BOXCONV_INLINE Span out_channels(const BoxConvProblem& p, const Tile& tile) {
  return {tile.channels.first * p.boxes_per_channel, tile.channels.count * p.boxes_per_channel};
}

// One axis of `size` pixels, split into intervals of `length` outputs. Output i depends on the
// pixels i * stride + [reach_min, reach_max].
class AxisTiling {
 public:
  // `length` is the largest number of outputs in an interval.
  AxisTiling(Index outputs, Index stride, Index reach_min, Index reach_max, Index size,
             Index length);

  Index count() const;          // number of intervals
  Index length() const;         // largest number of outputs in an interval
  Index source_length() const;  // largest number of pixels that an interval depends on
  Span outputs(Index interval) const;
  Span source(Index interval) const;  // pixels that the outputs depend on

 private:
  Index outputs_, stride_, reach_min_, reach_max_, size_, length_, count_;
};

class Tiling {
 public:
  Tiling(const BoxConvProblem& p, const AxisTiling& rows, const AxisTiling& columns,
         Index channels_per_tile);

  Index count() const;  // number of tiles
  Index rectangles_per_image() const;
  Index channels_per_tile() const;
  const AxisTiling& rows() const { return rows_; }
  const AxisTiling& columns() const { return columns_; }
  Tile at(Index index) const;

 private:
  Index channels_;
  AxisTiling rows_, columns_;
  Index channels_per_tile_, channel_groups_, count_;
};

// The number of channels of a tile: at most `max_channels` of the image's `channels`. Fewer if all
// of them took more than `max_values` values of memory, at `values` values a channel.
Index channels_within(Index channels, Index values, Index max_values, Index max_channels);

// Tiles of the output. A tile has at most `max_channels` channels, or fewer if its planes would
// take too much memory because the boxes reach far.
Tiling forward_tiling(const BoxConvProblem& p, const BoxReach& reach, Index max_channels);
// Tiles of the input gradient. `reach` is that of the mirrored boxes.
Tiling backward_tiling(const BoxConvProblem& p, const BoxReach& reach, Index max_channels);

// Integral images are computed for groups of this many neighbouring channels (channels last), or
// one channel at a time (channels first).
constexpr Index kIntegralImageChannels = 32;
// The number of these groups in an image.
Index integral_image_groups(const IntegralImageProblem& p);

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_TILING_H_
