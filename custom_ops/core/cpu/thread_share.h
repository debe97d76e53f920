// How many neighbouring tiles a thread of a pool takes at a time.
#ifndef BOXCONV_CORE_CPU_THREAD_SHARE_H_
#define BOXCONV_CORE_CPU_THREAD_SHARE_H_

#include <algorithm>

#include "core/base/platform.h"

namespace boxconv {

// Each thread takes one contiguous range of the `total` tiles, because neighbouring tiles share
// cache lines and prefetch for each other. A range is at least long enough to be worth waking a
// thread. `cost` is that of one tile in nanoseconds.
inline Index tiles_per_thread(Index total, Index cost, Index threads) {
  constexpr Index kMinNanoseconds = 20000;  // about the time to wake a thread
  const Index share = (total + threads - 1) / threads;
  return std::max(share, kMinNanoseconds / cost + 1);
}

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_THREAD_SHARE_H_
