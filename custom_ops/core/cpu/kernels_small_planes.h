// Declares the kernels for small planes of each instruction set, for box_conv.cc. A kernel computes
// the units [begin, end) of `tiling` and returns false if there is not enough memory.
#ifndef BOXCONV_CORE_CPU_KERNELS_SMALL_PLANES_H_
#define BOXCONV_CORE_CPU_KERNELS_SMALL_PLANES_H_

#include "core/base/problem.h"
#include "core/cpu/instruction_sets.h"
#include "core/cpu/small_planes.h"

namespace boxconv {

// images_per_group returns the number of images in a vector. small_planes_backward adds each tile's
// contribution to the edge gradients to partial_boxes_grad
// [tiling.image_groups(), channels, boxes_per_channel, 4].
#define BOXCONV_DECLARE_KERNELS(ISA)                                                               \
  namespace ISA {                                                                                  \
  template <typename T>                                                                            \
  Index images_per_group();                                                                        \
  template <typename T, typename TBox>                                                             \
  bool small_planes_forward(const BoxConvProblem& p, const SmallPlaneTiling& tiling,               \
                            const T* input, const TBox* boxes, T* output, Index begin, Index end); \
  template <typename T, typename TBox>                                                             \
  bool small_planes_backward(const BoxConvProblem& p, const SmallPlaneTiling& tiling,              \
                             const T* input, const TBox* boxes, const T* output_grad,              \
                             T* input_grad, double* partial_boxes_grad, Index begin, Index end);   \
  }

BOXCONV_FOR_EACH_ISA(BOXCONV_DECLARE_KERNELS)
#undef BOXCONV_DECLARE_KERNELS

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_KERNELS_SMALL_PLANES_H_
