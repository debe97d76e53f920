// What a box's sums are multiplied by along one axis, and how that changes with its edges.
#ifndef BOXCONV_CORE_BOX_SCALE_H_
#define BOXCONV_CORE_BOX_SCALE_H_

#include "core/box_conv.h"
#include "core/box_edge.h"

namespace boxconv {
namespace BOXCONV_ISA {

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

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_BOX_SCALE_H_
