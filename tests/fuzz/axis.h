// One axis of one box, by definition: the overlap of each pixel with the box at each output.
//
// Edges are taken at position `edge + 1/2` from the output's pixel, rounded to double, where pixel
// p covers [p, p + 1]. That is all that the reference has in common with core.
#ifndef BOXCONV_TESTS_FUZZ_AXIS_H_
#define BOXCONV_TESTS_FUZZ_AXIS_H_

#include <vector>

#include "core.h"

namespace boxconv {
namespace fuzz {

// The pixels that the closed box touches at one output, if only with a border.
struct Touched {
  Index first, end;     // pixels
  std::size_t weights;  // where in Axis::weights the first one's is
  double extent;        // what normalization divides by
  // The pixels that the edges enter when the box grows, or -1 beside the plane.
  Index low_pixel, high_pixel;
  // Whether `extent` grows with either edge.
  bool low_grows, high_grows;
};

struct Axis {
  Index pixels = 0;
  std::vector<Touched> outputs;
  std::vector<double> weights;  // overlaps, in [0, 1]
  std::vector<double> bounds;   // the same, plus how inaccurate core's may be, in `rounding`s
  double smallest_extent = 1;
};

// `rounding` is that of the type in which core sums.
Axis make_axis(double low, double high, Index pixels, Index stride, Normalization normalization,
               double rounding);

// Empty, inverted and NaN boxes, and, as core documents, those with a side of at most 1e-150.
bool is_empty(const double* box);

}  // namespace fuzz
}  // namespace boxconv

#endif  // BOXCONV_TESTS_FUZZ_AXIS_H_
