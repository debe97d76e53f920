// The kernels for one instruction set. This file is compiled once per instruction set, with
// BOXCONV_ISA set to its name.
#include "core/base/dispatch.h"
#include "core/cpu/box_conv_backward.h"
#include "core/cpu/box_conv_forward.h"
#include "core/cpu/integral_image.h"

namespace boxconv {
namespace BOXCONV_ISA {

#define INSTANTIATE(T, TBox)                                                            \
  template bool forward_tiles<T, TBox>(const BoxConvProblem&, const Tiling&, const T*,  \
                                       const TBox*, T*, Index, Index);                  \
  template bool backward_tiles<T, TBox>(const BoxConvProblem&, const Tiling&, const T*, \
                                        const TBox*, const T*, T*, double*, Index, Index);
BOXCONV_FOR_EACH_BOX_TYPE(INSTANTIATE)
#undef INSTANTIATE

#define INSTANTIATE(T, TTable)                                                                   \
  template bool integral_image_planes<T, TTable>(const IntegralImageProblem&, const T*, TTable*, \
                                                 Index, Index);
BOXCONV_FOR_EACH_TABLE_TYPE(INSTANTIATE)
#undef INSTANTIATE

}  // namespace BOXCONV_ISA
}  // namespace boxconv
