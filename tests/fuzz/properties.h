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
//   - results agree with the reference, and NaNs and infinities stay inside the boxes that contain
//   or
//     touch them,
//   - forward and backward pass are adjoint: <B x, g> = <x, B^T g>,
//   - results have the same bits for any split of the work and in either layout,
//   - arguments, and the memory before the results, are not written.
Report check(const Problem& problem);

}  // namespace fuzz
}  // namespace boxconv

#endif  // BOXCONV_TESTS_FUZZ_PROPERTIES_H_
