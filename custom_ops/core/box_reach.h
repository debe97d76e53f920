// How far around an output some boxes can see.
#ifndef BOXCONV_CORE_BOX_REACH_H_
#define BOXCONV_CORE_BOX_REACH_H_

#include "core/box_conv.h"
#include "core/box_edge.h"
#include "core/platform.h"

namespace boxconv {

// The pixels between the outermost edges of some boxes, relative to an output's pixel: rows from
// top to bottom and columns from left to right. The same for all instruction sets.
struct BoxReach {
  Index top, left, bottom, right;
};

namespace BOXCONV_ISA {

// The box that the backward kernel takes sums in. On a border, its upper and left edges count as
// the far end of the pixels before: those are what the box, growing, enters, and where its
// derivatives are.
BOXCONV_HOST_DEVICE BoxEdges backward_box(const BoxEdges& box) {
  BoxEdges mirror = mirrored(box);
  if (!(mirror.top.fraction > 0)) mirror.top = {mirror.top.offset - 1, 1.0};
  if (!(mirror.left.fraction > 0)) mirror.left = {mirror.left.offset - 1, 1.0};
  return mirror;
}

// The reach of all boxes of a problem, forward or backward.
template <typename TBox>
BoxReach reach_of(const BoxConvProblem& p, const TBox* boxes, bool backward) {
  // Beyond the plane's size all offsets are alike; small ones cannot overflow.
  BoxReach reach{p.height, p.width, -p.height, -p.width};
  for (Index i = 0; i < p.out_channels(); ++i) {
    const BoxEdges edges = box_edges(boxes + i * 4);
    if (edges.empty) continue;
    const BoxEdges box = backward ? backward_box(edges) : edges;
    reach.top = smaller(reach.top, larger(box.top.offset, -p.height));
    reach.left = smaller(reach.left, larger(box.left.offset, -p.width));
    reach.bottom = larger(reach.bottom, smaller(box.bottom.offset, p.height));
    reach.right = larger(reach.right, smaller(box.right.offset, p.width));
  }
  return reach.top <= reach.bottom && reach.left <= reach.right ? reach : BoxReach{0, 0, 0, 0};
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_BOX_REACH_H_
