// Splits a problem into tiles. A tile is a rectangle of rows and columns of one image, for a group
// of neighbouring channels; it is the unit of work that a thread takes.
//
// The tiling depends on the problem and the instruction set only, never on the number of threads,
// so the results do not depend on it either. It is planned once a call and shared by all threads.
#ifndef BOXCONV_CORE_CPU_TILING_H_
#define BOXCONV_CORE_CPU_TILING_H_

#include "core/base/platform.h"
#include "core/base/problem.h"
#include "core/geometry/box_reach.h"

namespace boxconv {

struct Span {
  Index first, count;
};

// `rows` and `columns` are those of the result: the output, or the input gradient. `source_rows`
// and `source_columns` are those that the result depends on: of the input, or of the output
// gradient at the resolution of the input.
struct Tile {
  Index image;
  Index place;  // number of the rectangle in its image
  Span channels;
  Span rows, columns;
  Span source_rows, source_columns;
};

// The output channels that belong to a tile.
BOXCONV_INLINE Span out_channels(const BoxConvProblem& p, const Tile& tile) {
  return {tile.channels.first * p.boxes_per_channel, tile.channels.count * p.boxes_per_channel};
}

// One axis of `size` pixels, split into intervals of `length` outputs. Output i depends on the
// pixels i * stride + [reach_min, reach_max].
class AxisTiling {
 public:
  AxisTiling(Index outputs, Index stride, Index reach_min, Index reach_max, Index size);

  Index count() const;          // intervals
  Index length() const;         // outputs of an interval, at most
  Index source_length() const;  // pixels that an interval depends on, at most
  Span outputs(Index interval) const;
  Span source(Index interval) const;

 private:
  Index outputs_, stride_, reach_min_, reach_max_, size_, length_, count_;
};

class Tiling {
 public:
  // A tile has at most `max_channels` channels, fewer where boxes reach so far that its planes
  // would take too much memory.
  Tiling(const BoxConvProblem& p, const AxisTiling& rows, const AxisTiling& columns,
         Index max_channels);

  Index count() const;             // tiles of the problem
  Index places_per_image() const;  // rectangles of an image
  Index channels_per_tile() const;
  const AxisTiling& rows() const { return rows_; }
  const AxisTiling& columns() const { return columns_; }
  Tile at(Index index) const;

 private:
  Index channels_;
  AxisTiling rows_, columns_;
  Index channels_per_tile_, channel_groups_, count_;
};

// Tiles of the output.
Tiling forward_tiling(const BoxConvProblem& p, const BoxReach& reach, Index max_channels);
// Tiles of the input gradient. `reach` is that of the mirrored boxes.
Tiling backward_tiling(const BoxConvProblem& p, const BoxReach& reach, Index max_channels);

// Integral images are computed for groups of this many neighbouring channels (channels last), or
// one channel at a time (channels first).
constexpr Index kIntegralImageChannels = 32;
Index integral_image_groups(const IntegralImageProblem& p);  // of an image

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_TILING_H_
