// Threads for callers that have no pool of their own to lend.
#ifndef BOXCONV_CORE_HOST_THREADS_H_
#define BOXCONV_CORE_HOST_THREADS_H_

#include <algorithm>
#include <system_error>
#include <thread>
#include <vector>

#include "core/box_conv.h"

namespace boxconv {

// Spreads units over at most `threads` threads, of which the caller's is one. The others live for
// one call: nothing survives into a fork or keeps a library from being unloaded, and starting a
// thread costs little beside the work that it must have to be started at all.
inline ParallelFor on_threads(Index threads) {
  return [threads](Index total, Index cost, const std::function<void(Index, Index)>& body) {
    constexpr double kLeastWork = 1e5;  // nanoseconds; a start takes some 20,000
    const double useful = static_cast<double>(total) * static_cast<double>(cost) / kLeastWork;
    const Index wanted =
        useful < static_cast<double>(threads) ? static_cast<Index>(useful) : threads;
    const Index count = std::max<Index>(1, std::min(wanted, total));
    const Index block = (total + count - 1) / count;
    std::vector<std::thread> others;
    others.reserve(static_cast<std::size_t>(count));
    Index begin = block;
    try {
      for (; begin < total; begin += block) {
        others.emplace_back(body, begin, std::min(begin + block, total));
      }
    } catch (const std::system_error&) {
      // No more threads to be had: the caller's does what is left.
    }
    body(0, std::min(block, total));
    if (begin < total) body(begin, total);
    for (std::thread& other : others) other.join();
  };
}

}  // namespace boxconv

#endif  // BOXCONV_CORE_HOST_THREADS_H_
