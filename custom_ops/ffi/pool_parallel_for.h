// A ParallelFor on a pool whose threads may all be busy, even with other calls of it.
#ifndef BOXCONV_FFI_POOL_PARALLEL_FOR_H_
#define BOXCONV_FFI_POOL_PARALLEL_FOR_H_

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "core/cpu/box_conv.h"
#include "core/cpu/thread_share.h"

namespace boxconv {

// The ranges of one call. Every thread with time to spare claims the next range, first of all the
// caller's. So all ranges get done even if no other thread ever comes, and threads that come late
// find nothing left.
class SharedRanges {
 public:
  SharedRanges(Index total, Index length, const std::function<void(Index, Index)>& body)
      : total_(total), length_(length), unfinished_((total + length - 1) / length), body_(&body) {}

  void run() {
    for (;;) {
      const Index begin = next_.fetch_add(length_, std::memory_order_relaxed);
      if (begin >= total_) return;
      (*body_)(begin, std::min(begin + length_, total_));
      if (unfinished_.fetch_sub(1) == 1) {
        const std::lock_guard<std::mutex> lock(mutex_);
        done_.notify_one();
      }
    }
  }

  // Call it after run(): every range is claimed by then, and the threads that run the last ones
  // wait for nothing.
  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return unfinished_.load() == 0; });
  }

 private:
  const Index total_, length_;
  std::atomic<Index> next_{0}, unfinished_;
  const std::function<void(Index, Index)>* body_;  // the caller's; valid until all ranges are done
  std::mutex mutex_;
  std::condition_variable done_;
};

// Pool has num_threads() and Schedule(task). It must outlive the call; tasks that it runs later do
// nothing.
template <typename Pool>
ParallelFor pool_parallel_for(Pool* pool) {
  return [pool](Index total, Index cost, const std::function<void(Index, Index)>& body) {
    const Index threads = std::max(Index{1}, static_cast<Index>(pool->num_threads()));
    const Index length = tiles_per_thread(total, cost, threads);
    if (length >= total) return body(0, total);
    const auto ranges = std::make_shared<SharedRanges>(total, length, body);
    const Index helpers = (total + length - 1) / length - 1;
    for (Index i = 0; i < helpers; ++i) pool->Schedule([ranges] { ranges->run(); });
    ranges->run();
    ranges->wait();
  };
}

}  // namespace boxconv

#endif  // BOXCONV_FFI_POOL_PARALLEL_FOR_H_
