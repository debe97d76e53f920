// A ParallelFor that runs on a thread pool. It returns even if all threads of the pool are busy,
// for example inside other calls of the same ParallelFor.
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

// The ranges of one call. The caller and the idle threads of the pool each take the next range
// until none is left. The call therefore returns even if no other thread starts, and a thread that
// starts late finds no range.
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

  // Waits for the ranges that other threads still run. Call it after run(), when all ranges have
  // been taken.
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

// Pool is a class with num_threads() and Schedule(task). The pool must outlive each call. Tasks
// that the pool runs after the call has returned do nothing.
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
