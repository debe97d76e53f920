// Box convolution, its gradient and integral images on the CPU.
#ifndef BOXCONV_CORE_CPU_BOX_CONV_H_
#define BOXCONV_CORE_CPU_BOX_CONV_H_

#include <functional>

#include "core/base/half.h"
#include "core/base/problem.h"

namespace boxconv {

// Runs body(begin, end) over disjoint ranges that cover [0, total), on any number of threads, and
// returns when all are done. `cost` estimates the nanoseconds of one index.
using ParallelFor =
    std::function<void(Index total, Index cost, const std::function<void(Index, Index)>& body)>;

// Rough cost of one pixel of one channel: `read` nanoseconds to read it, and `box` nanoseconds for
// each box. Measured on one core of an x86-64 server with AVX2.
struct PixelCost {
  double read, box;
  Index nanoseconds(double pixels, Index boxes_per_channel) const {
    return static_cast<Index>(pixels * (read + box * static_cast<double>(boxes_per_channel))) + 1;
  }
};
constexpr PixelCost kForwardCost{0.3, 0.6}, kBackwardCost{0.6, 1.5};

// Box convolution. Instantiated for the pairs (T, TBox) of BOXCONV_FOR_EACH_BOX_TYPE in
// core/base/dispatch.h. Results do not depend on how ParallelFor splits the work.
template <typename T, typename TBox>
Status box_conv_forward(const BoxConvProblem& problem, const T* input, const TBox* boxes, T* output,
                        const ParallelFor& parallel_for);

// Its gradients with respect to the input and to the boxes, given the gradient of the output.
template <typename T, typename TBox>
Status box_conv_backward(const BoxConvProblem& problem, const T* input, const TBox* boxes,
                         const T* output_grad, T* input_grad, TBox* boxes_grad,
                         const ParallelFor& parallel_for);

// Integral images. Instantiated for the pairs (T, TTable) of BOXCONV_FOR_EACH_TABLE_TYPE. Sums are
// accumulated in double.
template <typename T, typename TTable>
Status integral_image(const IntegralImageProblem& problem, const T* input, TTable* table,
                      const ParallelFor& parallel_for);

// The instruction set in use: "baseline", "avx2" or "avx512". It is the widest that the processor
// has, unless the environment variable TF_BOXCONV_ISA names a narrower one.
const char* instruction_set();

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_BOX_CONV_H_
