// What two opposite edges of a box weigh along an axis: whole pixels with a fraction at either end.
#ifndef BOXCONV_CORE_BOX_WINDOW_H_
#define BOXCONV_CORE_BOX_WINDOW_H_

#include "core/box_edge.h"
#include "core/platform.h"

namespace boxconv {
namespace BOXCONV_ISA {

// For output i: first_weight * [pixel i + first] + weight * (the `middle` pixels after it) +
// last_weight * [pixel i + last], with last = first + middle + 1, and pixels outside being zero.
//
// Where both edges lie in one pixel, `middle` is -1, and pixel i + first is all that may be read:
// the last one's weight is zero, but zero times NaN is NaN. There, last is first + 1.
template <typename V>
struct SlidingWindow {
  Index first, last, middle;
  V first_weight, weight, last_weight;
};

// The window between two edges, each output multiplied by `scale`. Beyond `reach` pixels all edges
// are alike; small numbers cannot overflow.
template <typename V>
BOXCONV_HOST_DEVICE SlidingWindow<V> sliding_window(EdgeShift low, EdgeShift high, double scale,
                                                    Index reach) {
  const bool one_pixel = low.offset == high.offset;  // holds both edges
  const double first_weight = one_pixel ? high.fraction - low.fraction : 1 - low.fraction;
  const Index first = clamp_index(low.offset, -reach - 1, reach);
  const Index last = clamp_index(one_pixel ? low.offset + 1 : high.offset, first + 1, reach + 1);
  return {first,
          last,
          one_pixel ? -1 : last - first - 1,
          static_cast<V>(first_weight * scale),
          last - first > 1 ? static_cast<V>(scale) : V{0},
          one_pixel ? V{0} : static_cast<V>(high.fraction * scale)};
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_BOX_WINDOW_H_
