// The weights of a box along one axis: whole pixels in the middle, a fractional pixel at each end.
#ifndef BOXCONV_CORE_GEOMETRY_BOX_WINDOW_H_
#define BOXCONV_CORE_GEOMETRY_BOX_WINDOW_H_

#include "core/base/platform.h"
#include "core/geometry/box_edge.h"

namespace boxconv {

// Describes the sum at each output i of a line. Pixels outside the line count as zero.
//
//     first_weight * pixel[i + first]
//         + weight * (pixel[i + first + 1] + ... + pixel[i + last - 1])       `middle` pixels
//         + last_weight * pixel[i + last]
//
// If both edges lie in the same pixel, it is pixel i + first. Then `middle` is -1, `last` is
// `first` + 1, and pixel i + last must not be read: its weight is zero, but 0 * NaN would be NaN.
template <typename V>
struct SlidingWindow {
  Index first, last, middle;
  V first_weight, weight, last_weight;
};

// The window between the edges `min` and `max`, with all weights multiplied by `factor`. All
// offsets beyond `reach` pixels must have the same effect; they are clamped to avoid overflow.
template <typename V>
BOXCONV_HOST_DEVICE SlidingWindow<V> sliding_window(EdgeShift min, EdgeShift max, double factor,
                                                    Index reach) {
  const bool one_pixel = min.offset == max.offset;  // both edges lie in the same pixel
  const double first_weight = one_pixel ? max.fraction - min.fraction : 1 - min.fraction;
  const Index first = clamp_index(min.offset, -reach - 1, reach);
  const Index last = clamp_index(one_pixel ? min.offset + 1 : max.offset, first + 1, reach + 1);
  return {first,
          last,
          one_pixel ? -1 : last - first - 1,
          static_cast<V>(first_weight * factor),
          last - first > 1 ? static_cast<V>(factor) : V{0},
          one_pixel ? V{0} : static_cast<V>(max.fraction * factor)};
}

}  // namespace boxconv

#endif  // BOXCONV_CORE_GEOMETRY_BOX_WINDOW_H_
