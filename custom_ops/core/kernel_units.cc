// The kernels of one instruction set: CMake compiles this file once for each, with BOXCONV_ISA set.
#include "core/box_conv_backward.h"
#include "core/box_conv_forward.h"
#include "core/integral_image.h"

namespace boxconv {
namespace BOXCONV_ISA {

#define INSTANTIATE(T, TBox)                                                                  \
  template bool forward_units<T, TBox>(const BoxConvProblem&, const T*, const TBox*,          \
                                       const UnitCut&, T*, Index, Index);                     \
  template bool backward_units<T, TBox>(const BoxConvProblem&, const T*, const TBox*,         \
                                        const UnitCut&, const T*, T*, double*, Index, Index); \
  template bool valid_extent_units<T, TBox>(const BoxConvProblem&, const T*, const TBox*,     \
                                            const UnitCut&, const T*, double*, Index, Index);
INSTANTIATE(Half, float)
INSTANTIATE(BFloat16, float)
INSTANTIATE(float, float)
INSTANTIATE(double, double)
#undef INSTANTIATE

#define INSTANTIATE(T, TTable)                                                                  \
  template bool integral_image_units<T, TTable>(const IntegralImageProblem&, const T*, TTable*, \
                                                Index, Index);
INSTANTIATE(Half, float)
INSTANTIATE(Half, double)
INSTANTIATE(BFloat16, float)
INSTANTIATE(BFloat16, double)
INSTANTIATE(float, float)
INSTANTIATE(float, double)
INSTANTIATE(double, float)
INSTANTIATE(double, double)
#undef INSTANTIATE

}  // namespace BOXCONV_ISA
}  // namespace boxconv
