// The arithmetic of a box edge, written once: CPU and CUDA, forward and backward, rows and columns.
//
// An edge at `edge` pixels from an output's centre lies, for the output centred on pixel `center`,
// at position `center + edge + 1/2` of the summed-area table, whose index i stands for the border
// before pixel i. Because centres are integers, the fraction is the same for all outputs of a box.
#ifndef BOXCONV_CORE_BOX_EDGE_H_
#define BOXCONV_CORE_BOX_EDGE_H_

#include "core/platform.h"

namespace boxconv {
namespace BOXCONV_ISA {

// Farther than any plane reaches, and safe to add to any centre in 64 bits.
constexpr double kFarEdge = 4503599627370496.0;  // 2^52: doubles count integers exactly up to here

struct EdgeShift {
  Index offset;     // whole pixels from a centre to the edge's cell
  double fraction;  // in [0, 1): how far into that cell the edge lies
};

// Clamps in floating point before it converts: any float, NaN included, gives a defined result.
BOXCONV_HOST_DEVICE EdgeShift edge_shift(double edge) {
  double position = edge + 0.5;
  position = position > -kFarEdge ? position : -kFarEdge;  // NaN goes here too
  position = position < kFarEdge ? position : kFarEdge;
  Index offset = static_cast<Index>(position);  // truncates towards zero
  offset -= static_cast<double>(offset) > position ? 1 : 0;
  return {offset, position - static_cast<double>(offset)};
}

// The same edge, seen from a row or column that lies `pixels` before.
BOXCONV_HOST_DEVICE EdgeShift shifted(EdgeShift shift, Index pixels) {
  return {shift.offset + pixels, shift.fraction};
}

struct EdgeCell {
  Index cell;       // in [0, size - 1]
  double fraction;  // in [0, 1]; the clamped position is cell + fraction
};

// The edge's place in an axis of `size` >= 1 pixels, clamped to [0, size].
BOXCONV_HOST_DEVICE EdgeCell edge_cell(EdgeShift shift, Index center, Index size) {
  const Index cell = center + shift.offset;
  if (cell < 0) return {0, 0.0};
  if (cell >= size) return {size - 1, 1.0};
  return {cell, shift.fraction};
}

// The offset of the pixel that an edge enters when the box grows: beyond an upper edge that is the
// cell it lies in, below a lower edge on a pixel border it is the cell before.
BOXCONV_HOST_DEVICE Index outward_offset_of_max(EdgeShift shift) { return shift.offset; }
BOXCONV_HOST_DEVICE Index outward_offset_of_min(EdgeShift shift) {
  return shift.fraction > 0 ? shift.offset : shift.offset - 1;
}

BOXCONV_HOST_DEVICE bool inside(Index pixel, Index size) { return pixel >= 0 && pixel < size; }

// A box ready for use. An empty, inverted or NaN box, and one so extreme that its area has no
// reciprocal, responds with zero everywhere.
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
  // Below 1e-150 a side's square underflows; such a side is also far below a pixel's rounding.
  constexpr double kSmallestSide = 1e-150;
  edges.empty = !(edges.height > kSmallestSide && edges.width > kSmallestSide);
  return edges;
}

// The edge at `-edge`: its position is one minus the position at `edge`.
BOXCONV_HOST_DEVICE EdgeShift negated(EdgeShift shift) {
  return shift.fraction > 0 ? EdgeShift{-shift.offset, 1.0 - shift.fraction}
                            : EdgeShift{1 - shift.offset, 0.0};
}

// The box seen from the input: pixel p is covered by the outputs that this box holds around p.
BOXCONV_HOST_DEVICE BoxEdges mirrored(const BoxEdges& box) {
  return {negated(box.bottom), negated(box.right), negated(box.top), negated(box.left),
          box.height,          box.width,          box.empty};
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_BOX_EDGE_H_
