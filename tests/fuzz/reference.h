// The expected results of a problem, by direct summation in double, and their tolerances.
#ifndef BOXCONV_TESTS_FUZZ_REFERENCE_H_
#define BOXCONV_TESTS_FUZZ_REFERENCE_H_

#include <vector>

#include "number_types.h"
#include "problem.h"

namespace boxconv {
namespace fuzz {

// The expected values of an array that core computes.
struct Expected {
  std::vector<double> values;
  // The largest errors before results are rounded to the type of the array. If a tolerance is
  // infinite, the value is not checked: the border of the box touches a NaN or infinity, or the sum
  // over the box may overflow although the mean does not.
  std::vector<double> tolerances;
  // Whether the result must be NaN or infinite, because the box contains such a pixel.
  std::vector<char> non_finite;
  // Sums of the magnitudes of all terms. Only box convolutions and their gradients have them.
  std::vector<double> magnitudes;

  explicit Expected(Index count = 0)
      : values(static_cast<std::size_t>(count)),
        tolerances(static_cast<std::size_t>(count)),
        non_finite(static_cast<std::size_t>(count)),
        magnitudes(static_cast<std::size_t>(count)) {}
};

struct Reference {
  Expected output, input_grad, boxes_grad;
};

// `sums` are the limits of the type in which core sums: double for float64, otherwise float.
Reference make_reference(const Problem& problem, const Limits& sums);

// The integral images of the problem's input. Their values are in the order of input_index() for
// planes with one more row and column.
Expected integral_image_reference(const Problem& problem);

}  // namespace fuzz
}  // namespace boxconv

#endif  // BOXCONV_TESTS_FUZZ_REFERENCE_H_
