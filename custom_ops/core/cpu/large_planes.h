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

struct LargePlanesPlan {
  Tiling tiling;
  // Whether all threads work on one tile after the other. Otherwise each tile has one thread.
  bool shared;
  // A tile is computed in steps of this many rows, a multiple of kMaxGroupRows.
  Index step_rows;
};

// The plan for the output.
LargePlanesPlan large_planes_forward_plan(const BoxConvProblem& p, const BoxReach& reach);
// The plan for the input gradient. `reach` is that of the mirrored boxes.
LargePlanesPlan large_planes_backward_plan(const BoxConvProblem& p, const BoxReach& reach);

// A tile, and the memory that the kernels of all its steps use.
struct LargeTile {
  const BoxConvProblem& problem;
  const BoxReach& reach;
  const LargePlanesPlan& plan;
  Tile tile;
  char* memory;  // starts at a cache line
};

// A step of a tile has two phases. In the first, threads share rows: they store the results of the
// step before, and load the rows that come within reach. In the second, threads share channels:
// they compute the results.
struct TileStep {
  Span stored;    // rows of the result
  Span loaded;    // rows of the source
  Span computed;  // rows of the result; none in the last step
  bool is_first;

  // The number of units in the first phase. Unit i is the i-th row of each span.
  Index row_count() const {
    return max_index(stored.count, max_index(loaded.count, computed.count));
  }
};

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_LARGE_PLANES_H_
