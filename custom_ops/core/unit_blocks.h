// How many neighbouring units a thread of a pool takes at a time.
#ifndef BOXCONV_CORE_UNIT_BLOCKS_H_
#define BOXCONV_CORE_UNIT_BLOCKS_H_

#include <algorithm>

#include "core/platform.h"

namespace boxconv {

// Neighbouring units share cache lines and fetch each other's memory, so each thread gets one block
// of them, unless the blocks would be too short to wake a thread for.
inline Index units_per_block(Index total, Index cost, Index threads) {
  constexpr Index kShortestBlock = 20000;  // nanoseconds; waking a thread takes about as long
  const Index share = (total + threads - 1) / threads;
  return std::max(share, kShortestBlock / cost + 1);
}

}  // namespace boxconv

#endif  // BOXCONV_CORE_UNIT_BLOCKS_H_
