// Declares the kernels for large planes of each instruction set, for box_conv_large_planes.cc. They
// compute the phases of a step of a tile (large_planes.h).
#ifndef BOXCONV_CORE_CPU_KERNELS_LARGE_PLANES_H_
#define BOXCONV_CORE_CPU_KERNELS_LARGE_PLANES_H_

#include <atomic>

#include "core/base/problem.h"
#include "core/cpu/instruction_sets.h"
#include "core/cpu/large_planes.h"

namespace boxconv {

// `..._bytes` returns the size of the memory that a tile needs; its own `memory` may be null.
//
// `..._rows` runs the first phase of a step for the rows [begin, end) of the tile, `..._channels`
// the second phase for its channels [begin, end). `image`, `result`, `output_grad` and `input_grad`
// are those of the tile's image.
//
// The second phase returns false if there is not enough memory. It sets *ok to false if the results
// are wrong because a running sum was too large or not finite. large_planes_backward_channels adds
// its contribution to the edge gradients to partial_boxes_grad
// [batch * tiling.rectangles_per_image(), channels, boxes_per_channel, 4].
#define BOXCONV_DECLARE_KERNELS(ISA)                                                            \
  namespace ISA {                                                                               \
  template <typename T>                                                                         \
  Index large_planes_forward_bytes(const LargeTile& t);                                         \
  template <typename T>                                                                         \
  void large_planes_forward_rows(const LargeTile& t, const TileStep& step, const T* image,      \
                                 T* result, Index begin, Index end);                            \
  template <typename T>                                                                         \
  bool large_planes_forward_channels(const LargeTile& t, const TileStep& step, const T* image,  \
                                     const float* boxes, std::atomic<bool>* ok, Index begin,    \
                                     Index end);                                                \
  template <typename T>                                                                         \
  Index large_planes_backward_bytes(const LargeTile& t);                                        \
  template <typename T>                                                                         \
  void large_planes_backward_rows(const LargeTile& t, const TileStep& step, const T* image,     \
                                  const T* output_grad, T* input_grad, Index begin, Index end); \
  template <typename T>                                                                         \
  bool large_planes_backward_channels(const LargeTile& t, const TileStep& step,                 \
                                      const float* boxes, const T* output_grad,                 \
                                      double* partial_boxes_grad, std::atomic<bool>* ok,        \
                                      Index begin, Index end);                                  \
  }

BOXCONV_FOR_EACH_ISA(BOXCONV_DECLARE_KERNELS)
#undef BOXCONV_DECLARE_KERNELS

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_KERNELS_LARGE_PLANES_H_
