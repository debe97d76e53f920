// What core must return for a problem, by direct summation in double, and how far off it may be.
#ifndef BOXCONV_TESTS_FUZZ_REFERENCE_H_
#define BOXCONV_TESTS_FUZZ_REFERENCE_H_

#include <vector>

#include "number_types.h"
#include "problem.h"

namespace boxconv {
namespace fuzz {

// An array that core returns.
struct Expected {
  std::vector<double> values;
  // Besides the rounding of the result to its own type. Infinite: not checked, because the box only
  // touches a NaN or infinity, or because sums may overflow though their mean would not.
  std::vector<double> tolerances;
  // Whether the result must be NaN or infinite, because the box holds a pixel that is.
  std::vector<char> non_finite;

  explicit Expected(Index count = 0)
      : values(static_cast<std::size_t>(count)),
        tolerances(static_cast<std::size_t>(count)),
        non_finite(static_cast<std::size_t>(count)) {}
};

struct Reference {
  Expected output, input_grad, boxes_grad;
};

// `sums` are the limits of the type in which core sums: float, or double for float64.
Reference make_reference(const Problem& problem, const Limits& sums);

// The summed-area table of the problem's input, at the positions of `input_index` for planes of one
// more row and column.
Expected integral_image_reference(const Problem& problem);

}  // namespace fuzz
}  // namespace boxconv

#endif  // BOXCONV_TESTS_FUZZ_REFERENCE_H_
