// Declares the kernels for large planes of each instruction set, for box_conv.cc. A kernel computes
// the tiles [begin, end) of `tiling` and returns false if there is not enough memory. It sets *ok
// to false if the results are wrong because a running sum was too large or not finite.
#ifndef BOXCONV_CORE_CPU_KERNELS_LARGE_PLANES_H_
#define BOXCONV_CORE_CPU_KERNELS_LARGE_PLANES_H_

#include <atomic>

#include "core/base/problem.h"
#include "core/cpu/instruction_sets.h"
#include "core/cpu/tiling.h"
#include "core/geometry/box_reach.h"

namespace boxconv {

// large_planes_backward adds each tile's contribution to the edge gradients to partial_boxes_grad
// [batch * tiling.rectangles_per_image(), channels, boxes_per_channel, 4].
#define BOXCONV_DECLARE_KERNELS(ISA)                                                               \
  namespace ISA {                                                                                  \
  template <typename T>                                                                            \
  bool large_planes_forward(const BoxConvProblem& p, const BoxReach& reach, const Tiling& tiling,  \
                            const T* input, const float* boxes, T* output, std::atomic<bool>* ok,  \
                            Index begin, Index end);                                               \
  template <typename T>                                                                            \
  bool large_planes_backward(const BoxConvProblem& p, const BoxReach& reach, const Tiling& tiling, \
                             const T* input, const float* boxes, const T* output_grad,             \
                             T* input_grad, double* partial_boxes_grad, std::atomic<bool>* ok,     \
                             Index begin, Index end);                                              \
  }

BOXCONV_FOR_EACH_ISA(BOXCONV_DECLARE_KERNELS)
#undef BOXCONV_DECLARE_KERNELS

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_KERNELS_LARGE_PLANES_H_
