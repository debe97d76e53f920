// Plans box convolution followed by a 1x1 convolution for planes that are one tile each. The sums
// along rows leave the responses transposed, in groups of rows. The matrix product reads them in
// this order, so no response is transposed back to an image.
//
// A plane of responses is stored in groups of rows (plane_windows.h). A plane of their gradients is
// stored row by row, as the backward pass of the boxes needs it. Both use the same memory.
#ifndef BOXCONV_CORE_CPU_GROUPED_RESPONSES_H_
#define BOXCONV_CORE_CPU_GROUPED_RESPONSES_H_

#include "core/base/problem.h"
#include "core/cpu/tiling.h"

namespace boxconv {

// The responses of `images` images.
struct GroupedResponses {
  Index images, height, width;
  Index group_rows;    // of a whole group
  Index in_channels;   // responses of a pixel
  Index out_channels;  // filters
  Index plane_stride;  // in values
  Index image_stride;

  // A unit of work of the 1x1 convolution is a block of this many columns of a group.
  static constexpr Index kBlockColumns = 16;
  Index groups() const { return (height + group_rows - 1) / group_rows; }
  // The numbers of blocks of `columns` columns, in a group and in all images.
  Index column_blocks(Index columns) const { return (width + columns - 1) / columns; }
  Index block_count(Index columns) const { return images * groups() * column_blocks(columns); }
};

// The plan for `images` images at a time. Planes are not a power of two apart, because their pixels
// would then map to the same cache set. Their rows have the stride of BackwardKernel's planes.
inline GroupedResponses grouped_responses(const SeparableBoxConvProblem& p, Index images,
                                          Index group_rows) {
  const BoxConvProblem& b = p.box_conv;
  const Index rows = round_up(b.height, kMaxGroupRows), row_stride = round_up(b.width, 8) + 16;
  const Index plane_stride = rows * row_stride + 16;
  return {images,           b.height,  b.width,      group_rows,
          b.out_channels(), p.filters, plane_stride, b.out_channels() * plane_stride};
}

// Whether the tiles of the forward or backward pass are whole planes whose responses can stay in
// groups.
inline bool has_whole_planes(const BoxConvProblem& p, const Tiling& tiling) {
  return p.layout == Layout::kChannelsLast && p.stride_y == 1 && p.stride_x == 1 &&
         p.normalization != Normalization::kValid && tiling.rectangles_per_image() == 1;
}

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_GROUPED_RESPONSES_H_
