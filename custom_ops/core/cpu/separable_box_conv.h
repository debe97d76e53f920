// Box convolution followed by a 1x1 convolution, on the CPU. A thread keeps the responses of the
// boxes for a few images at a time only.
#ifndef BOXCONV_CORE_CPU_SEPARABLE_BOX_CONV_H_
#define BOXCONV_CORE_CPU_SEPARABLE_BOX_CONV_H_

#include "core/base/problem.h"
#include "core/cpu/box_conv.h"

namespace boxconv {

// Instantiated for the pairs (T, TBox) of BOXCONV_FOR_EACH_BOX_TYPE in core/base/dispatch.h. Half
// types accumulate in float; where responses are kept as images (response_images.h), they are
// rounded to T first. Results do not depend on how ParallelFor splits the work.
template <typename T, typename TBox>
Status separable_box_conv_forward(const SeparableBoxConvProblem& problem, const T* input,
                                  const TBox* boxes, const T* kernel, const T* bias, T* output,
                                  const ParallelFor& parallel_for);

// Its gradients with respect to the input, the boxes, the kernel and the bias, given the gradient
// of the output.
template <typename T, typename TBox>
Status separable_box_conv_backward(const SeparableBoxConvProblem& problem, const T* input,
                                   const TBox* boxes, const T* kernel, const T* output_grad,
                                   T* input_grad, TBox* boxes_grad, T* kernel_grad, T* bias_grad,
                                   const ParallelFor& parallel_for);

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_SEPARABLE_BOX_CONV_H_
