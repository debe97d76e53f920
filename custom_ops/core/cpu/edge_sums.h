// The last step of the backward pass: from sums over a plane to the gradients of a box's edges.
#ifndef BOXCONV_CORE_CPU_EDGE_SUMS_H_
#define BOXCONV_CORE_CPU_EDGE_SUMS_H_

#include "core/base/problem.h"
#include "core/cpu/simd.h"
#include "core/geometry/box_edge.h"

namespace boxconv {
namespace BOXCONV_ISA {

// The sums of one box, in the notation of box_conv_backward.h. The bottom edge of the mirrored box
// corresponds to the top edge of the box, and so on.
struct EdgeSums {
  double responses = 0;         // of x * input_grad
  double y_min = 0, y_max = 0;  // of x * row_sums (large planes: input_sums * g), with `factor`
  double x_min = 0, x_max = 0;  // of x * column_sums, without `factor`
};

// Adds them to the gradients of the box's four edges. `factor` is the common factor.
BOXCONV_INLINE void add_edge_sums(const BoxConvProblem& p, const BoxEdges& box, double factor,
                                  const EdgeSums& sums, double* boxes_grad) {
  const bool area = p.normalization == Normalization::kArea;
  const double by_height = area ? sums.responses / box.height : 0;
  const double by_width = area ? sums.responses / box.width : 0;
  boxes_grad[0] += by_height - sums.y_min;
  boxes_grad[1] += by_width - sums.x_min * factor;
  boxes_grad[2] += sums.y_max - by_height;
  boxes_grad[3] += sums.x_max * factor - by_width;
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_EDGE_SUMS_H_
