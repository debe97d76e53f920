// A ParallelFor for callers without a thread pool.
#ifndef BOXCONV_CORE_CPU_THREADS_H_
#define BOXCONV_CORE_CPU_THREADS_H_

#include <algorithm>
#include <system_error>
#include <thread>
#include <vector>

#include "core/cpu/box_conv.h"

namespace boxconv {

// A ParallelFor that runs on at most `threads` threads, including the caller's. The other threads
// are started for each call and end with it, so none is lost in a fork or keeps the library from
// being unloaded. A thread is started only for work that takes much longer than the start itself.
inline ParallelFor on_threads(Index threads) {
  return [threads](Index total, Index cost, const std::function<void(Index, Index)>& body) {
    constexpr double kMinNanoseconds = 1e5;  // work for a thread; starting it takes some 20,000
    const double worthwhile =
        static_cast<double>(total) * static_cast<double>(cost) / kMinNanoseconds;
    const Index wanted =
        worthwhile < static_cast<double>(threads) ? static_cast<Index>(worthwhile) : threads;
    const Index count = std::max<Index>(1, std::min(wanted, total));
    const Index share = (total + count - 1) / count;
    std::vector<std::thread> others;
    others.reserve(static_cast<std::size_t>(count));
    Index begin = share;
    try {
      for (; begin < total; begin += share) {
        others.emplace_back(body, begin, std::min(begin + share, total));
      }
    } catch (const std::system_error&) {
      // The system has no more threads. The caller's thread does the rest.
    }
    body(0, std::min(share, total));
    if (begin < total) body(begin, total);
    for (std::thread& other : others) other.join();
  };
}

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_THREADS_H_
