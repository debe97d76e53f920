// Runs the kernels for large planes in parallel.
#ifndef BOXCONV_CORE_CPU_BOX_CONV_LARGE_PLANES_H_
#define BOXCONV_CORE_CPU_BOX_CONV_LARGE_PLANES_H_

#include "core/base/problem.h"
#include "core/cpu/box_conv.h"
#include "core/geometry/box_reach.h"

namespace boxconv {

// The functions of box_conv.h, without those problems for which the answer is no to
// has_large_planes(). There is none for double, which would need running sums of a wider type, and
// no backward pass for Normalization::kValid. They set *ok to false if the results are wrong
// because values are huge or not finite; boxes_grad is then unchanged.
template <typename T>
Status large_planes_forward(const BoxConvProblem& p, const BoxReach& reach, const T* input,
                            const float* boxes, T* output, const ParallelFor& parallel_for,
                            bool* ok);
template <typename T>
Status large_planes_backward(const BoxConvProblem& p, const BoxReach& reach, const T* input,
                             const float* boxes, const T* output_grad, T* input_grad,
                             float* boxes_grad, const ParallelFor& parallel_for, bool* ok);

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_BOX_CONV_LARGE_PLANES_H_
