// The kernels for grouped responses, compiled once per instruction set as kernels.cc is.
#include "core/base/dispatch.h"
#include "core/cpu/mix_groups.h"

namespace boxconv {
namespace BOXCONV_ISA {

#define INSTANTIATE_FOR(T, TBox, V)                                                              \
  template Index group_rows<T>();                                                                \
  template bool grouped_forward<T, TBox, V>(const BoxConvProblem&, const GroupedResponses&,      \
                                            const Tiling&, const T*, const TBox*, V*, Index,     \
                                            Index);                                              \
  template bool mix_groups<T, V>(const BoxConvProblem&, const GroupedResponses&, const V*,       \
                                 const V*, const V*, const T*, T*, Index, Index);                \
  template bool add_group_kernel_gradients<T, V>(const GroupedResponses&,                        \
                                                 const KernelGradientPlan&, const V*, const T*,  \
                                                 const KernelTotals&, Index, Index);             \
  template bool response_gradients<T, V>(const GroupedResponses&, const V*, const T*, V*, Index, \
                                         Index);                                                 \
  template bool grouped_backward<T, TBox, V>(const BoxConvProblem&, const GroupedResponses&,     \
                                             const Tiling&, const T*, const TBox*, V*, T*,       \
                                             double*, Index, Index);
#define INSTANTIATE(T, TBox) INSTANTIATE_FOR(T, TBox, PlaneType<T>::type)
BOXCONV_FOR_EACH_BOX_TYPE(INSTANTIATE)
#undef INSTANTIATE
#undef INSTANTIATE_FOR

}  // namespace BOXCONV_ISA
}  // namespace boxconv
