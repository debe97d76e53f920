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

// Runs core, several times, on a problem:
//   - results agree with the reference, and NaNs and infinities stay inside the boxes that hold or
//     touch them;
//   - forward and backward are adjoint: <B x, g> = <x, B^T g>;
//   - any split of the work, and either layout, gives the same bits;
//   - arguments, and memory before the results, are left as they were.
Report check(const Problem& problem);

}  // namespace fuzz
}  // namespace boxconv

#endif  // BOXCONV_TESTS_FUZZ_PROPERTIES_H_
