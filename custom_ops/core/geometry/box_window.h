// The weights of a box along one axis: whole pixels in the middle, a fractional pixel at each end.
#ifndef BOXCONV_CORE_GEOMETRY_BOX_WINDOW_H_
#define BOXCONV_CORE_GEOMETRY_BOX_WINDOW_H_

#include "core/base/platform.h"
#include "core/geometry/box_edge.h"

namespace boxconv {

// The sum at output i, with pixels outside the line counting as zero:
//
//     first_weight * pixel[i + first]
//         + weight * (pixel[i + first + 1] + ... + pixel[i + last - 1])       `middle` pixels
//         + last_weight * pixel[i + last]
//
// If both edges lie in one pixel, that is pixel i + first, `middle` is -1 and last = first + 1.
// Pixel i + last must not be read then: its weight is zero, but 0 * NaN would be NaN.
template <typename V>
struct SlidingWindow {
  Index first, last, middle;
  V first_weight, weight, last_weight;
};

// The window between two edges, multiplied by `factor`. Offsets beyond `reach` pixels are
// equivalent; clamping them avoids overflow.
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
