// Declares the kernels of 1x1 convolutions for each instruction set. A kernel returns false if
// there is not enough memory.
#ifndef BOXCONV_CORE_CPU_KERNELS_MIX_CHANNELS_H_
#define BOXCONV_CORE_CPU_KERNELS_MIX_CHANNELS_H_

#include "core/base/half.h"
#include "core/cpu/channel_mixing.h"
#include "core/cpu/instruction_sets.h"

namespace boxconv {

// mix_channels computes the blocks [begin, end) of `m`: each pixel's channels times `weights`, plus
// `bias`.
//
// add_kernel_gradients adds the contributions of the units [begin, end) of `plan` to `totals`.
#define BOXCONV_DECLARE_KERNELS(ISA)                                                             \
  namespace ISA {                                                                                \
  template <typename T>                                                                          \
  bool mix_channels(const ChannelMixing& m, const T* in,                                         \
                    const typename PlaneType<T>::type* weights,                                  \
                    const typename PlaneType<T>::type* bias, T* out, Index begin, Index end);    \
  template <typename T>                                                                          \
  bool add_kernel_gradients(const ChannelMixing& m, const KernelGradientPlan& plan, const T* in, \
                            const T* out_grad, const KernelTotals& totals, Index begin,          \
                            Index end);                                                          \
  }

BOXCONV_FOR_EACH_ISA(BOXCONV_DECLARE_KERNELS)
#undef BOXCONV_DECLARE_KERNELS

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_KERNELS_MIX_CHANNELS_H_
