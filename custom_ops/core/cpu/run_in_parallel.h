// Runs kernels in parallel.
#ifndef BOXCONV_CORE_CPU_RUN_IN_PARALLEL_H_
#define BOXCONV_CORE_CPU_RUN_IN_PARALLEL_H_

#include <atomic>

#include "core/cpu/box_conv.h"

namespace boxconv {

// Runs kernel(begin, end) over [0, total) in parallel. The kernel returns false if there is not
// enough memory.
template <typename Kernel>
Status run_in_parallel(Index total, Index cost, const ParallelFor& parallel_for,
                       const Kernel& kernel) {
  if (total == 0) return Status::kOk;
  std::atomic<bool> ok{true};
  parallel_for(total, cost, [&](Index begin, Index end) {
    if (!kernel(begin, end)) ok = false;
  });
  return ok ? Status::kOk : Status::kOutOfMemory;
}

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_RUN_IN_PARALLEL_H_
