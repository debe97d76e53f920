// How many neighbouring tiles a thread of a pool takes at a time.
#ifndef BOXCONV_CORE_CPU_THREAD_SHARE_H_
#define BOXCONV_CORE_CPU_THREAD_SHARE_H_

#include <algorithm>

#include "core/base/platform.h"

namespace boxconv {

// Neighbouring tiles share cache lines and prefetch for each other, so each thread takes one
// contiguous range of them. Ranges too short to be worth waking a thread are made longer.
inline Index tiles_per_thread(Index total, Index cost, Index threads) {
  constexpr Index kMinNanoseconds = 20000;  // about what waking a thread takes
  const Index share = (total + threads - 1) / threads;
  return std::max(share, kMinNanoseconds / cost + 1);
}

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_THREAD_SHARE_H_
