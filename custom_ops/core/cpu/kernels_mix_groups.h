// Declares the kernels for grouped responses (grouped_responses.h) of each instruction set. A
// kernel returns false if there is not enough memory.
#ifndef BOXCONV_CORE_CPU_KERNELS_MIX_GROUPS_H_
#define BOXCONV_CORE_CPU_KERNELS_MIX_GROUPS_H_

#include "core/base/half.h"
#include "core/base/problem.h"
#include "core/cpu/channel_mixing.h"
#include "core/cpu/grouped_responses.h"
#include "core/cpu/instruction_sets.h"
#include "core/cpu/tiling.h"

namespace boxconv {

// V stands for the type of the sums, PlaneType<T>::type.
//
// grouped_forward computes the responses of the tiles [begin, end).
// mix_groups computes the output of the blocks [begin, end). It prefetches `next_input`, the next
// image, unless that is null.
// add_group_kernel_gradients adds the contributions of the units [begin, end) of `plan` to
// `totals`. response_gradients computes the gradients of the responses in the rows [begin, end),
// counted over all images. grouped_backward computes the results of backward_tiles (kernels.h) for
// the tiles [begin, end). It overwrites `grads`, the gradients of the responses.
#define BOXCONV_DECLARE_KERNELS(ISA)                                                              \
  namespace ISA {                                                                                 \
  template <typename T>                                                                           \
  Index group_rows();                                                                             \
  template <typename T, typename TBox, typename V>                                                \
  bool grouped_forward(const BoxConvProblem& p, const GroupedResponses& r, const Tiling& tiling,  \
                       const T* input, const TBox* boxes, V* responses, Index begin, Index end);  \
  template <typename T, typename V>                                                               \
  bool mix_groups(const BoxConvProblem& p, const GroupedResponses& r, const V* responses,         \
                  const V* weights, const V* bias, const T* next_input, T* out, Index begin,      \
                  Index end);                                                                     \
  template <typename T, typename V>                                                               \
  bool add_group_kernel_gradients(const GroupedResponses& r, const KernelGradientPlan& plan,      \
                                  const V* responses, const T* out_grad,                          \
                                  const KernelTotals& totals, Index begin, Index end);            \
  template <typename T, typename V>                                                               \
  bool response_gradients(const GroupedResponses& r, const V* weights, const T* out_grad,         \
                          V* grads, Index begin, Index end);                                      \
  template <typename T, typename TBox, typename V>                                                \
  bool grouped_backward(const BoxConvProblem& p, const GroupedResponses& r, const Tiling& tiling, \
                        const T* input, const TBox* boxes, V* grads, T* input_grad,               \
                        double* partial_boxes_grad, Index begin, Index end);                      \
  }

BOXCONV_FOR_EACH_ISA(BOXCONV_DECLARE_KERNELS)
#undef BOXCONV_DECLARE_KERNELS

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_KERNELS_MIX_GROUPS_H_
