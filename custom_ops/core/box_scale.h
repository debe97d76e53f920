// What a box's sums are multiplied by along one axis, and how that changes with its edges.
#ifndef BOXCONV_CORE_BOX_SCALE_H_
#define BOXCONV_CORE_BOX_SCALE_H_

#include "core/box_conv.h"
#include "core/box_edge.h"

namespace boxconv {
namespace BOXCONV_ISA {

// A factor in the type that planes have. A box so thin that the type cannot hold the factor also
// has sums of zero, which must not meet an infinity.
template <typename V>
BOXCONV_HOST_DEVICE V bounded_scale(double scale) {
  constexpr double kLargest = sizeof(V) > sizeof(float) ? 1e300 : 1e30;
  return static_cast<V>(scale < kLargest ? scale : kLargest);
}

// Every normalization is a product of a row's and a column's factor. For output i of one axis,
// factor = 1 / extent, and low_term and high_term are d log(extent) / d edge in the direction in
// which the box grows: the response loses term * response as its edge moves outward.
struct AxisScale {
  double factor, low_term, high_term;
};

BOXCONV_HOST_DEVICE AxisScale axis_scale(Normalization normalization, EdgeShift low, EdgeShift high,
                                         double extent, Index center, Index size) {
  if (normalization == Normalization::kNone) return {1.0, 0.0, 0.0};
  if (normalization == Normalization::kArea) return {1.0 / extent, 1.0 / extent, 1.0 / extent};
  const EdgeCell from = edge_cell(low, center, size), to = edge_cell(high, center, size);
  const double valid = static_cast<double>(to.cell - from.cell) + (to.fraction - from.fraction);
  if (!(valid > 0)) return {0.0, 0.0, 0.0};
  const double factor = 1.0 / valid;
  return {factor, inside(center + outward_offset_of_min(low), size) ? factor : 0.0,
          inside(center + outward_offset_of_max(high), size) ? factor : 0.0};
}

// The part of the scale that all outputs of a box, not an empty one, share.
template <typename V>
BOXCONV_HOST_DEVICE double constant_scale(const BoxConvProblem& p, const BoxEdges& box) {
  return p.normalization == Normalization::kArea ? bounded_scale<V>(1.0 / (box.height * box.width))
                                                 : 1.0;
}

// The rest of it, for "valid": the factors of the outputs on row `y` and in column `x`.
template <typename V>
BOXCONV_HOST_DEVICE V row_factor(const BoxConvProblem& p, const BoxEdges& box, Index y) {
  return bounded_scale<V>(
      axis_scale(p.normalization, box.top, box.bottom, box.height, y, p.height).factor);
}
template <typename V>
BOXCONV_HOST_DEVICE V column_factor(const BoxConvProblem& p, const BoxEdges& box, Index x) {
  return bounded_scale<V>(
      axis_scale(p.normalization, box.left, box.right, box.width, x, p.width).factor);
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_BOX_SCALE_H_
