// The kernels for large planes, compiled once per instruction set as kernels.cc is. There are none
// for double: running sums are kept in double, which is not precise enough for it.
#include "core/cpu/box_conv_large_planes_backward.h"
#include "core/cpu/box_conv_large_planes_forward.h"

namespace boxconv {
namespace BOXCONV_ISA {

#define INSTANTIATE(T)                                                                             \
  template Index large_planes_forward_bytes<T>(const LargeTile&);                                  \
  template void large_planes_forward_rows<T>(const LargeTile&, const TileStep&, const T*, T*,      \
                                             Index, Index);                                        \
  template bool large_planes_forward_channels<T>(const LargeTile&, const TileStep&, const T*,      \
                                                 const float*, std::atomic<bool>*, Index, Index);  \
  template Index large_planes_backward_bytes<T>(const LargeTile&);                                 \
  template void large_planes_backward_rows<T>(const LargeTile&, const TileStep&, const T*,         \
                                              const T*, T*, Index, Index);                         \
  template bool large_planes_backward_channels<T>(const LargeTile&, const TileStep&, const float*, \
                                                  const T*, double*, std::atomic<bool>*, Index,    \
                                                  Index);
INSTANTIATE(Half)
INSTANTIATE(BFloat16)
INSTANTIATE(float)
#undef INSTANTIATE

}  // namespace BOXCONV_ISA
}  // namespace boxconv
