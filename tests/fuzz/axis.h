// One axis of a box: the overlap of each pixel with the box, at each output.
//
// As in core, pixel p covers [p, p + 1], and an edge lies at `edge + 1/2` from the output's pixel,
// rounded to double. The reference shares nothing else with core.
#ifndef BOXCONV_TESTS_FUZZ_AXIS_H_
#define BOXCONV_TESTS_FUZZ_AXIS_H_

#include <vector>

#include "core.h"

namespace boxconv {
namespace fuzz {

// The pixels that the box touches at one output. Touching a border counts.
struct Touched {
  Index first, end;     // pixels
  std::size_t weights;  // index of the first pixel's weight in Axis::weights
  double extent;        // the divisor of the normalization
  // The pixels that the edges enter when the box grows, or -1 if outside the plane.
  Index min_pixel, max_pixel;
  // Whether `extent` grows when the edge moves outward.
  bool min_grows, max_grows;
};

struct Axis {
  Index pixels = 0;
  std::vector<Touched> outputs;
  std::vector<double> weights;  // overlaps, in [0, 1]
  std::vector<double> bounds;  // the same, plus the error of core's weights, in units of `rounding`
  double min_extent = 1;
};

// `rounding` is the relative rounding error of the type in which core sums.
Axis make_axis(double min, double max, Index pixels, Index stride, Normalization normalization,
               double rounding);

// Whether a box is empty, inverted or contains a NaN, or has a side of at most 1e-150, which core
// documents as empty.
bool is_empty(const double* box);

}  // namespace fuzz
}  // namespace boxconv

#endif  // BOXCONV_TESTS_FUZZ_AXIS_H_
