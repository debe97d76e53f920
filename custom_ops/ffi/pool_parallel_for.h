// A ParallelFor that runs on a thread pool. It returns even if all threads of the pool are busy,
// for example inside other calls of the same ParallelFor.
#ifndef BOXCONV_FFI_POOL_PARALLEL_FOR_H_
#define BOXCONV_FFI_POOL_PARALLEL_FOR_H_

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <functional>

#include "core/cpu/box_conv.h"
#include "core/cpu/thread_share.h"

namespace boxconv {

// Set once; threads that wait for it then go on. It uses POSIX's condition variables because
// std::condition_variable::wait needs the C++ library of GCC 12, which older systems do not have.
class Event {
 public:
  void set() {
    pthread_mutex_lock(&mutex_);
    is_set_ = true;
    pthread_cond_broadcast(&changed_);
    pthread_mutex_unlock(&mutex_);
  }

  void wait() {
    pthread_mutex_lock(&mutex_);
    while (!is_set_) pthread_cond_wait(&changed_, &mutex_);
    pthread_mutex_unlock(&mutex_);
  }

 private:
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t changed_ = PTHREAD_COND_INITIALIZER;
  bool is_set_ = false;
};

// The ranges of one call. The caller and the idle threads of the pool each take the next range
// until none is left. The call therefore returns even if no other thread starts, and a thread that
// starts late finds no range.
class SharedRanges {
 public:
  // The object deletes itself when each of its `owners` has called release(). (std::shared_ptr
  // would need glibc 2.32.)
  SharedRanges(Index total, Index length, const std::function<void(Index, Index)>& body,
               Index owners)
      : total_(total),
        length_(length),
        unfinished_((total + length - 1) / length),
        owners_(owners),
        body_(&body) {}

  void run() {
    for (;;) {
      const Index begin = next_.fetch_add(length_, std::memory_order_relaxed);
      if (begin >= total_) return;
      (*body_)(begin, std::min(begin + length_, total_));
      if (unfinished_.fetch_sub(1) == 1) done_.set();
    }
  }

  // Waits for the ranges that other threads still run. Call it after run(), when all ranges have
  // been taken.
  void wait() { done_.wait(); }

  void release() {
    if (owners_.fetch_sub(1) == 1) delete this;
  }

 private:
  ~SharedRanges() = default;

  const Index total_, length_;
  std::atomic<Index> next_{0}, unfinished_, owners_;
  const std::function<void(Index, Index)>* body_;  // the caller's; valid until all ranges are done
  Event done_;
};

// Pool is a class with num_threads() and Schedule(task). The pool must outlive each call, and must
// run each task. Tasks that the pool runs after the call has returned do nothing.
template <typename Pool>
ParallelFor pool_parallel_for(Pool* pool) {
  return [pool](Index total, Index cost, const std::function<void(Index, Index)>& body) {
    const Index threads = std::max(Index{1}, static_cast<Index>(pool->num_threads()));
    const Index length = tiles_per_thread(total, cost, threads);
    if (length >= total) return body(0, total);
    const Index helpers = (total + length - 1) / length - 1;
    auto* const ranges = new SharedRanges(total, length, body, helpers + 1);
    for (Index i = 0; i < helpers; ++i) {
      pool->Schedule([ranges] {
        ranges->run();
        ranges->release();
      });
    }
    ranges->run();
    ranges->wait();
    ranges->release();
  };
}

}  // namespace boxconv

#endif  // BOXCONV_FFI_POOL_PARALLEL_FOR_H_
