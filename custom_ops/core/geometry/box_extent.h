// Normalization: the factors that multiply the sum over a box, and their derivatives.
//
// The factor of an output is the product of a factor for its row and one for its column. Along each
// axis, factor = 1 / extent. The extent is 1 (none), the side of the box (area), or the length of
// the part of the side that lies inside the image (valid).
#ifndef BOXCONV_CORE_GEOMETRY_BOX_EXTENT_H_
#define BOXCONV_CORE_GEOMETRY_BOX_EXTENT_H_

#include "core/base/problem.h"
#include "core/geometry/box_edge.h"

namespace boxconv {

// Converts a factor to V, the type of the sums. The result is always finite, because the sum over a
// very thin box may be zero, and 0 * infinity would be NaN.
template <typename V>
BOXCONV_HOST_DEVICE V bounded_factor(double factor) {
  constexpr double kMaxFactor = sizeof(V) > sizeof(float) ? 1e300 : 1e30;
  return static_cast<V>(factor < kMaxFactor ? factor : kMaxFactor);
}

// The factor of one output along one axis, and the relative growth of the extent per pixel that the
// min or the max edge moves outward: d log(extent) / d edge. If the min edge moves outward by d,
// the normalization changes the response by -min_growth * d * response.
struct AxisFactor {
  double factor, min_growth, max_growth;
};

BOXCONV_HOST_DEVICE AxisFactor axis_factor(Normalization normalization, EdgeShift min,
                                           EdgeShift max, double side, Index center, Index size) {
  if (normalization == Normalization::kNone) return {1.0, 0.0, 0.0};
  if (normalization == Normalization::kArea) return {1.0 / side, 1.0 / side, 1.0 / side};
  const EdgeCell begin = edge_cell(min, center, size), end = edge_cell(max, center, size);
  const double extent =
      static_cast<double>(end.cell - begin.cell) + (end.fraction - begin.fraction);
  if (!(extent > 0)) return {0.0, 0.0, 0.0};
  const double factor = 1.0 / extent;
  return {factor, inside(center + outward_offset_of_min(min), size) ? factor : 0.0,
          inside(center + outward_offset_of_max(max), size) ? factor : 0.0};
}

// The factor that all outputs of a box share: 1 / area for "area", otherwise 1. The box must not be
// empty.
template <typename V>
BOXCONV_HOST_DEVICE double common_factor(const BoxConvProblem& p, const BoxEdges& box) {
  return p.normalization == Normalization::kArea ? bounded_factor<V>(1.0 / (box.height * box.width))
                                                 : 1.0;
}

// For "valid", the factors of the outputs at row `y` and at column `x` of the input.
template <typename V>
BOXCONV_HOST_DEVICE V row_factor(const BoxConvProblem& p, const BoxEdges& box, Index y) {
  return bounded_factor<V>(
      axis_factor(p.normalization, box.top, box.bottom, box.height, y, p.height).factor);
}
template <typename V>
BOXCONV_HOST_DEVICE V column_factor(const BoxConvProblem& p, const BoxEdges& box, Index x) {
  return bounded_factor<V>(
      axis_factor(p.normalization, box.left, box.right, box.width, x, p.width).factor);
}

}  // namespace boxconv

#endif  // BOXCONV_CORE_GEOMETRY_BOX_EXTENT_H_
