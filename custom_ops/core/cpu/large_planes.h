// Plans the kernels for large planes. A tile is a group of neighbouring channels of some rows, over
// the whole width of the image: running sums (running_sums.h) need no pixels beside a column.
//
// Like other tilings (tiling.h), the plan depends only on the problem.
#ifndef BOXCONV_CORE_CPU_LARGE_PLANES_H_
#define BOXCONV_CORE_CPU_LARGE_PLANES_H_

#include "core/base/problem.h"
#include "core/cpu/tiling.h"
#include "core/geometry/box_reach.h"

namespace boxconv {

// Whether running sums are faster than tiles that fit in a cache.
bool has_large_planes(const BoxConvProblem& p);

// Tiles of the output.
Tiling large_planes_forward_tiling(const BoxConvProblem& p, const BoxReach& reach);
// Tiles of the input gradient. `reach` is that of the mirrored boxes.
Tiling large_planes_backward_tiling(const BoxConvProblem& p, const BoxReach& reach);

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_LARGE_PLANES_H_
