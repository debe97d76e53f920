// One axis of a box: the overlap of each pixel with the box, at each output.
//
// As in core, pixel p covers [p, p + 1], and the edge at `edge` lies `edge + 1/2`, rounded to
// double, from the beginning of the output's pixel. The reference shares nothing else with core.
#ifndef BOXCONV_TESTS_FUZZ_AXIS_H_
#define BOXCONV_TESTS_FUZZ_AXIS_H_

#include <vector>

#include "core.h"

namespace boxconv {
namespace fuzz {

// The pixels [first, end) that the box touches at one output. A pixel also counts if the box
// touches only its border.
struct TouchedPixels {
  Index first, end;
  std::size_t first_weight;  // index of the first pixel's weight in Axis::weights
  double extent;             // along this axis, the divisor of the normalization
  // The pixels that the min and the max edge enter when the box grows, or -1 if outside the plane.
  Index min_pixel, max_pixel;
  // Whether `extent` grows when the min or the max edge moves outward.
  bool min_grows, max_grows;
};

struct Axis {
  Index pixels = 0;
  std::vector<TouchedPixels> outputs;
  std::vector<double> weights;  // overlap of each touched pixel, in [0, 1]
  // Weights for error bounds, which are multiples of `rounding` times sums with these weights. To a
  // fractional weight they add the error of core's weight, divided by `rounding`.
  std::vector<double> bounds;
  double min_extent = 1;  // the smallest positive extent of all outputs, if it is less than 1
};

// `rounding` is the relative rounding error of the type in which core sums.
Axis make_axis(double min, double max, Index pixels, Index stride, Normalization normalization,
               double rounding);

// Whether core treats a box as empty: it is empty or inverted, contains a NaN, or has a side of at
// most 1e-150.
bool is_empty(const double* box);

}  // namespace fuzz
}  // namespace boxconv

#endif  // BOXCONV_TESTS_FUZZ_AXIS_H_
