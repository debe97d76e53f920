// The properties that core must have on every problem.
#ifndef BOXCONV_TESTS_FUZZ_PROPERTIES_H_
#define BOXCONV_TESTS_FUZZ_PROPERTIES_H_

#include <string>
#include <vector>

#include "problem.h"

namespace boxconv {
namespace fuzz {

struct Report {
  Index values = 0;                   // results compared with the reference
  std::vector<std::string> failures;  // empty if all properties hold
};

// Runs core on a problem several times, and checks that
//
//   - results agree with the reference,
//   - NaNs and infinities reach only the results of boxes that contain or touch them,
//   - forward and backward pass are adjoint: <B x, g> = <x, B^T g>,
//   - output and input gradient have the same bits in either layout,
//   - all results have the same bits for any split of the work,
//   - core does not write to its arguments or to the memory before the results.
//
// Some problems also check the separable box convolution.
Report check(const Problem& problem);

// Checks the separable box convolution: that results agree with the reference, NaNs and infinities
// included, that they have the same bits for any split of the work, and that core does not write
// anywhere else.
Report check_separable(const Problem& problem);

}  // namespace fuzz
}  // namespace boxconv

#endif  // BOXCONV_TESTS_FUZZ_PROPERTIES_H_
