// The kernels for large planes, compiled once per instruction set as kernels.cc is. There are none
// for double: running sums are kept in double, which is not precise enough for it.
#include "core/cpu/box_conv_large_planes_backward.h"
#include "core/cpu/box_conv_large_planes_forward.h"

namespace boxconv {
namespace BOXCONV_ISA {

#define INSTANTIATE(T)                                                                          \
  template bool large_planes_forward<T>(const BoxConvProblem&, const BoxReach&, const Tiling&,  \
                                        const T*, const float*, T*, std::atomic<bool>*, Index,  \
                                        Index);                                                 \
  template bool large_planes_backward<T>(const BoxConvProblem&, const BoxReach&, const Tiling&, \
                                         const T*, const float*, const T*, T*, double*,         \
                                         std::atomic<bool>*, Index, Index);
INSTANTIATE(Half)
INSTANTIATE(BFloat16)
INSTANTIATE(float)
#undef INSTANTIATE

}  // namespace BOXCONV_ISA
}  // namespace boxconv
