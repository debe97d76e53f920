// Core's units of work on a pool of threads that may all be busy, even with calls of this.
#ifndef BOXCONV_FFI_POOL_PARALLEL_FOR_H_
#define BOXCONV_FFI_POOL_PARALLEL_FOR_H_

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "core/box_conv.h"
#include "core/unit_blocks.h"

namespace boxconv {

// The blocks of one call. Whoever has time claims the next one, the caller first of all, so that
// blocks get done though no other thread ever comes; helpers that come late find none left.
class SharedBlocks {
 public:
  SharedBlocks(Index total, Index block, const std::function<void(Index, Index)>& body)
      : total_(total), block_(block), unfinished_((total + block - 1) / block), body_(&body) {}

  void run() {
    for (;;) {
      const Index begin = next_.fetch_add(block_, std::memory_order_relaxed);
      if (begin >= total_) return;
      (*body_)(begin, std::min(begin + block_, total_));
      if (unfinished_.fetch_sub(1) == 1) {
        const std::lock_guard<std::mutex> lock(mutex_);
        done_.notify_one();
      }
    }
  }

  // All blocks are claimed: those not done yet are being run, and wait for nothing that waits here.
  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return unfinished_.load() == 0; });
  }

 private:
  const Index total_, block_;
  std::atomic<Index> next_{0}, unfinished_;
  const std::function<void(Index, Index)>* body_;  // the caller's, alive until all blocks are done
  std::mutex mutex_;
  std::condition_variable done_;
};

// Pool has num_threads() and Schedule(task). It must outlive the call, its tasks need not end in
// it.
template <typename Pool>
ParallelFor pool_parallel_for(Pool* pool) {
  return [pool](Index total, Index cost, const std::function<void(Index, Index)>& body) {
    const Index threads = std::max(Index{1}, static_cast<Index>(pool->num_threads()));
    const Index block = units_per_block(total, cost, threads);
    if (block >= total) return body(0, total);
    const auto blocks = std::make_shared<SharedBlocks>(total, block, body);
    const Index helpers = (total + block - 1) / block - 1;
    for (Index i = 0; i < helpers; ++i) pool->Schedule([blocks] { blocks->run(); });
    blocks->run();
    blocks->wait();
  };
}

}  // namespace boxconv

#endif  // BOXCONV_FFI_POOL_PARALLEL_FOR_H_
