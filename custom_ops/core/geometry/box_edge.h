// The position of a box edge in a line of pixels. All kernels use these functions: CPU and CUDA,
// forward and backward, rows and columns.
//
// A line of `size` pixels has `size + 1` borders; border i lies before pixel i. A coordinate `edge`
// of a box is relative to the centre of the output pixel. For the output at pixel `center`, the
// edge lies at
//
//     position = center + edge + 1/2        measured in borders
//
//     border   0     1     2     3     4
//              |  0  |  1  |  2  |  3  |     pixels
//                          ^ position of the edge at 0.5, for the output at pixel 1
//
// Centres are integers, so the fractional part of the position is the same for all outputs.
#ifndef BOXCONV_CORE_GEOMETRY_BOX_EDGE_H_
#define BOXCONV_CORE_GEOMETRY_BOX_EDGE_H_

#include "core/base/platform.h"

namespace boxconv {

// Positions are clamped to [-kFarEdge, kFarEdge]. This lies beyond any plane, but can be added to
// any centre without overflow in 64 bits. Doubles hold every integer up to here.
constexpr double kFarEdge = 4503599627370496.0;  // 2^52

// The position of an edge relative to the output pixel, `edge + 1/2`: an integer plus a fraction in
// [0, 1).
struct EdgeShift {
  Index offset;
  double fraction;
};

// Clamps in floating point before converting, so the result is defined for every coordinate. NaN is
// treated like -infinity.
BOXCONV_HOST_DEVICE EdgeShift edge_shift(double edge) {
  double position = edge + 0.5;
  position = position > -kFarEdge ? position : -kFarEdge;  // false for NaN
  position = position < kFarEdge ? position : kFarEdge;
  Index offset = static_cast<Index>(position);  // truncates towards zero
  offset -= static_cast<double>(offset) > position ? 1 : 0;
  return {offset, position - static_cast<double>(offset)};
}

// The same edge relative to a centre that lies `pixels` earlier.
BOXCONV_HOST_DEVICE EdgeShift shifted(EdgeShift shift, Index pixels) {
  return {shift.offset + pixels, shift.fraction};
}

// A position clamped to [0, size]: pixel `cell` in [0, size - 1] plus a fraction in [0, 1].
struct EdgeCell {
  Index cell;
  double fraction;
};

// The position of an edge for the output at pixel `center`, in a line of `size` >= 1 pixels.
BOXCONV_HOST_DEVICE EdgeCell edge_cell(EdgeShift shift, Index center, Index size) {
  const Index cell = center + shift.offset;
  if (cell < 0) return {0, 0.0};
  if (cell >= size) return {size - 1, 1.0};
  return {cell, shift.fraction};
}

// Offset of the pixel that the edge enters when the box grows. An edge inside a pixel stays in it.
// On a border, a max edge enters the pixel after the border and a min edge the pixel before it.
BOXCONV_HOST_DEVICE Index outward_offset_of_max(EdgeShift shift) { return shift.offset; }
BOXCONV_HOST_DEVICE Index outward_offset_of_min(EdgeShift shift) {
  return shift.fraction > 0 ? shift.offset : shift.offset - 1;
}

BOXCONV_HOST_DEVICE bool inside(Index pixel, Index size) { return pixel >= 0 && pixel < size; }

// The edges of a box. If `empty` is true, the response is zero everywhere: the box is empty or
// inverted, contains a NaN, or is so thin that 1 / area could overflow.
struct BoxEdges {
  EdgeShift top, left, bottom, right;
  double height, width;
  bool empty;
};

template <typename TBox>
BOXCONV_HOST_DEVICE BoxEdges box_edges(const TBox* box) {
  const double y_min = box[0], x_min = box[1], y_max = box[2], x_max = box[3];
  BoxEdges edges{edge_shift(y_min),
                 edge_shift(x_min),
                 edge_shift(y_max),
                 edge_shift(x_max),
                 y_max - y_min,
                 x_max - x_min,
                 false};
  // Below 1e-150 the square of a side underflows. Such a side is also far below the rounding error
  // of a pixel coordinate.
  constexpr double kMinSide = 1e-150;
  edges.empty = !(edges.height > kMinSide && edges.width > kMinSide);
  return edges;
}

// The edge at the coordinate `-edge`. Relative to the output pixel, its position -edge + 1/2 is one
// minus the position of `edge`.
BOXCONV_HOST_DEVICE EdgeShift negated(EdgeShift shift) {
  return shift.fraction > 0 ? EdgeShift{-shift.offset, 1.0 - shift.fraction}
                            : EdgeShift{1 - shift.offset, 0.0};
}

// The mirrored box: pixel p contributes to exactly the outputs that this box covers around p.
BOXCONV_HOST_DEVICE BoxEdges mirrored(const BoxEdges& box) {
  return {negated(box.bottom), negated(box.right), negated(box.top), negated(box.left),
          box.height,          box.width,          box.empty};
}

// The mirrored box of the backward pass. A min edge on a pixel border is written as the end of the
// pixel before the border (fraction 1). The edge gradients then multiply each output gradient with
// the pixel that the edge enters when the box grows.
BOXCONV_HOST_DEVICE BoxEdges backward_box(const BoxEdges& box) {
  BoxEdges mirror = mirrored(box);
  if (!(mirror.top.fraction > 0)) mirror.top = {mirror.top.offset - 1, 1.0};
  if (!(mirror.left.fraction > 0)) mirror.left = {mirror.left.offset - 1, 1.0};
  return mirror;
}

}  // namespace boxconv

#endif  // BOXCONV_CORE_GEOMETRY_BOX_EDGE_H_
