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

// All numbers are stored as doubles. `type` represents all arrays but the boxes exactly. The boxes
// are exact in float64 if `type` is float64, otherwise in float32.
struct Problem {
  std::uint64_t seed = 0;
  NumberType type = NumberType::kFloat32;
  BoxConvProblem shape;
  bool misaligned = false;  // arrays begin one element after an aligned address
  std::vector<double> input, boxes, output_grad;
  // The separable box convolution uses these too. `mixed_grad` is the gradient of its output.
  Index filters = 0;
  std::vector<double> kernel, bias, mixed_grad;

  SeparableBoxConvProblem separable() const { return {shape, filters}; }
};

Problem make_problem(std::uint64_t seed);
// The same for a given type and a given shape; the seed determines the values and the boxes.
Problem make_problem(std::uint64_t seed, NumberType type, const SeparableBoxConvProblem& shape);

// Returns one line with seed, type and shape. If `boxes` is true, another line follows for each
// box.
std::string describe(const Problem& problem, bool boxes = false);

// The index of a pixel in the input or the output array of `shape`.
Index input_index(const BoxConvProblem& shape, Index n, Index y, Index x, Index c);
Index output_index(const BoxConvProblem& shape, Index n, Index y, Index x, Index c);
// The same for the output of the separable box convolution, which has a channel for each filter.
Index mixed_index(const SeparableBoxConvProblem& shape, Index n, Index y, Index x, Index f);

// Returns call(T()), where T is the C++ type of `type`.
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
