// The expected results of a separable box convolution.
#ifndef BOXCONV_TESTS_FUZZ_SEPARABLE_REFERENCE_H_
#define BOXCONV_TESTS_FUZZ_SEPARABLE_REFERENCE_H_

#include "number_types.h"
#include "problem.h"
#include "reference.h"

namespace boxconv {
namespace fuzz {

struct SeparableReference {
  Expected output, input_grad, boxes_grad, kernel_grad, bias_grad;
};

// `responses` is the expected output of the box convolution. `sums` are the limits of the type in
// which core sums, `stored` those of the problem's type. Core may round the responses and their
// gradients to it.
SeparableReference make_separable_reference(const Problem& problem, const Expected& responses,
                                            const Limits& sums, const Limits& stored);

}  // namespace fuzz
}  // namespace boxconv

#endif  // BOXCONV_TESTS_FUZZ_SEPARABLE_REFERENCE_H_
