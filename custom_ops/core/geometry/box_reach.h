// How far from an output pixel its boxes read.
#ifndef BOXCONV_CORE_GEOMETRY_BOX_REACH_H_
#define BOXCONV_CORE_GEOMETRY_BOX_REACH_H_

#include "core/base/platform.h"
#include "core/base/problem.h"
#include "core/geometry/box_edge.h"

namespace boxconv {

// Offsets of the outermost pixels that any box touches: rows [top, bottom], columns [left, right].
struct BoxReach {
  Index top, left, bottom, right;
};

// The reach of all boxes of a problem. The backward pass uses the mirrored boxes.
template <typename TBox>
BOXCONV_HOST_DEVICE BoxReach reach_of(const BoxConvProblem& p, const TBox* boxes, bool backward) {
  // All offsets beyond the size of the plane have the same effect. Clamping them avoids overflow.
  BoxReach reach{p.height, p.width, -p.height, -p.width};
  for (Index i = 0; i < p.out_channels(); ++i) {
    const BoxEdges edges = box_edges(boxes + i * 4);
    if (edges.empty) continue;
    const BoxEdges box = backward ? backward_box(edges) : edges;
    reach.top = min_index(reach.top, max_index(box.top.offset, -p.height));
    reach.left = min_index(reach.left, max_index(box.left.offset, -p.width));
    reach.bottom = max_index(reach.bottom, min_index(box.bottom.offset, p.height));
    reach.right = max_index(reach.right, min_index(box.right.offset, p.width));
  }
  return reach.top <= reach.bottom && reach.left <= reach.right ? reach : BoxReach{0, 0, 0, 0};
}

}  // namespace boxconv

#endif  // BOXCONV_CORE_GEOMETRY_BOX_REACH_H_
