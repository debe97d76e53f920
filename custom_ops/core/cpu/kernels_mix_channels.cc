// The kernels of 1x1 convolutions, compiled once per instruction set as kernels.cc is.
#include "core/base/dispatch.h"
#include "core/cpu/mix_channels.h"

namespace boxconv {
namespace BOXCONV_ISA {

#define INSTANTIATE(T, TBox)                                                                       \
  template bool mix_channels<T>(const ChannelMixing&, const T*, const PlaneType<T>::type*,         \
                                const PlaneType<T>::type*, T*, Index, Index);                      \
  template bool add_kernel_gradients<T>(const ChannelMixing&, const KernelGradientPlan&, const T*, \
                                        const T*, const KernelTotals&, Index, Index);
BOXCONV_FOR_EACH_BOX_TYPE(INSTANTIATE)
#undef INSTANTIATE

}  // namespace BOXCONV_ISA
}  // namespace boxconv
