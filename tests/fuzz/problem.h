// A random problem, determined by its seed alone.
#ifndef BOXCONV_TESTS_FUZZ_PROBLEM_H_
#define BOXCONV_TESTS_FUZZ_PROBLEM_H_

#include <cstdint>
#include <string>
#include <vector>

#include "core.h"

namespace boxconv {
namespace fuzz {

enum class NumberType { kFloat16, kBFloat16, kFloat32, kFloat64 };

// Values are doubles that the number type represents exactly.
struct Problem {
  std::uint64_t seed = 0;
  NumberType type = NumberType::kFloat32;
  BoxConvProblem shape;
  bool misaligned = false;  // arrays begin one element after an aligned address
  std::vector<double> input, boxes, output_grad;
};

Problem make_problem(std::uint64_t seed);

// One line: seed, type and shape. With `boxes`, every box on a line of its own besides.
std::string describe(const Problem& problem, bool boxes = false);

// Positions in the arrays of `shape`, in its layout.
Index input_index(const BoxConvProblem& shape, Index n, Index y, Index x, Index c);
Index output_index(const BoxConvProblem& shape, Index n, Index y, Index x, Index c);

// Calls call(T()) with the C++ type that `type` names.
template <typename Call>
auto with_type(NumberType type, const Call& call) {
  switch (type) {
    case NumberType::kFloat16:
      return call(Half());
    case NumberType::kBFloat16:
      return call(BFloat16());
    case NumberType::kFloat32:
      return call(float());
    default:
      return call(double());
  }
}

}  // namespace fuzz
}  // namespace boxconv

#endif  // BOXCONV_TESTS_FUZZ_PROBLEM_H_
