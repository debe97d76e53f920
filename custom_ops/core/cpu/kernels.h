// Declares the kernels of each instruction set, for box_conv.cc. A kernel computes the tiles
// [begin, end) of `tiling` (for integral images, the channel groups [begin, end)) and returns false
// if there is not enough memory.
#ifndef BOXCONV_CORE_CPU_KERNELS_H_
#define BOXCONV_CORE_CPU_KERNELS_H_

#include "core/base/problem.h"
#include "core/cpu/instruction_sets.h"
#include "core/cpu/tiling.h"

namespace boxconv {

// backward_tiles adds each tile's contribution to the edge gradients to partial_boxes_grad
// [batch * tiling.rectangles_per_image(), channels, boxes_per_channel, 4].
#define BOXCONV_DECLARE_KERNELS(ISA)                                                       \
  namespace ISA {                                                                          \
  template <typename T, typename TBox>                                                     \
  bool forward_tiles(const BoxConvProblem& p, const Tiling& tiling, const T* input,        \
                     const TBox* boxes, T* output, Index begin, Index end);                \
  template <typename T, typename TBox>                                                     \
  bool backward_tiles(const BoxConvProblem& p, const Tiling& tiling, const T* input,       \
                      const TBox* boxes, const T* output_grad, T* input_grad,              \
                      double* partial_boxes_grad, Index begin, Index end);                 \
  template <typename T, typename TTable>                                                   \
  bool integral_image_planes(const IntegralImageProblem& p, const T* input, TTable* table, \
                             Index begin, Index end);                                      \
  }

BOXCONV_FOR_EACH_ISA(BOXCONV_DECLARE_KERNELS)
#undef BOXCONV_DECLARE_KERNELS

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_KERNELS_H_
