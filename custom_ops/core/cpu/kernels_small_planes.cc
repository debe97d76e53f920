// The kernels for small planes, compiled once per instruction set as kernels.cc is. They are a file
// of their own because more calls of the shared templates would change what the compiler inlines in
// the other kernels, which made those a fifth slower.
#include "core/base/dispatch.h"
#include "core/cpu/box_conv_small_planes_backward.h"
#include "core/cpu/box_conv_small_planes_forward.h"

namespace boxconv {
namespace BOXCONV_ISA {

#define INSTANTIATE(T, TBox)                                                                   \
  template Index images_per_group<T>();                                                        \
  template bool small_planes_forward<T, TBox>(const BoxConvProblem&, const SmallPlaneTiling&,  \
                                              const T*, const TBox*, T*, Index, Index);        \
  template bool small_planes_backward<T, TBox>(const BoxConvProblem&, const SmallPlaneTiling&, \
                                               const T*, const TBox*, const T*, T*, double*,   \
                                               Index, Index);
BOXCONV_FOR_EACH_BOX_TYPE(INSTANTIATE)
#undef INSTANTIATE

}  // namespace BOXCONV_ISA
}  // namespace boxconv
