// pool_parallel_for runs each index exactly once and always returns: when every thread of the pool
// is inside a call, when calls are nested, and when the pool starts its tasks late or never.
#include "ffi/pool_parallel_for.h"

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "check.h"
#include "pool.h"

namespace boxconv {
namespace {

constexpr Index kCostly = 1000000;  // nanoseconds; each index is worth a thread

// A pool of eight threads that runs no task before wake().
class SleepingPool {
 public:
  std::int64_t num_threads() const { return 8; }
  void Schedule(std::function<void()> task) { tasks_.push_back(std::move(task)); }
  void wake() {
    for (const auto& task : tasks_) task();
  }
  std::size_t tasks() const { return tasks_.size(); }

 private:
  std::vector<std::function<void()>> tasks_;
};

// Counts how often each index is run.
class Counts {
 public:
  explicit Counts(Index total) : counts_(total) {}
  std::function<void(Index, Index)> body() {
    return [this](Index begin, Index end) {
      CHECK(begin < end);
      for (Index i = begin; i < end; ++i) ++counts_[i];
    };
  }
  void check_each_once() const {
    for (const auto& count : counts_) CHECK_EQUAL(count.load(), 1);
  }

 private:
  std::vector<std::atomic<int>> counts_;
};

TEST(each_index_runs_once) {
  for (const int threads : {1, 2, 3, 8}) {
    Pool pool(threads);
    const ParallelFor parallel_for = pool_parallel_for(&pool);
    for (const Index total : {1, 2, 7, 8, 9, 1000}) {
      for (const Index cost : {Index{1}, Index{3000}, kCostly}) {
        Counts counts(total);
        parallel_for(total, cost, counts.body());
        counts.check_each_once();
      }
    }
  }
}

TEST(a_microsecond_of_work_wakes_no_thread) {
  SleepingPool pool;
  Counts counts(100);
  const ParallelFor parallel_for = pool_parallel_for(&pool);
  parallel_for(100, 10, counts.body());
  counts.check_each_once();
  CHECK_EQUAL(pool.tasks(), 0u);
}

TEST(tasks_that_start_after_the_call_do_nothing) {
  SleepingPool pool;
  {
    Counts counts(100);
    const ParallelFor parallel_for = pool_parallel_for(&pool);
    parallel_for(100, kCostly, counts.body());
    counts.check_each_once();
  }
  CHECK_EQUAL(pool.tasks(), 7u);  // one for each thread except the caller's
  pool.wake();
}

// XLA runs handlers on the pool that it passes to them, so all threads of the pool may be callers.
// The loop over `inside` makes all of them start their call before any asks for help.
TEST(calls_return_when_all_threads_are_inside_calls) {
  constexpr int kThreads = 3, kRounds = 300;
  Pool pool(kThreads);
  const ParallelFor parallel_for = pool_parallel_for(&pool);
  for (int round = 0; round < kRounds; ++round) {
    std::atomic<int> inside{0}, returned{0};
    for (int i = 0; i < kThreads; ++i) {
      pool.Schedule([&] {
        ++inside;
        while (inside < kThreads) std::this_thread::yield();
        Counts outer(5);
        parallel_for(5, kCostly, [&](Index begin, Index end) {
          outer.body()(begin, end);
          Counts inner(7);  // a nested call on the same pool
          parallel_for(7, kCostly, inner.body());
          inner.check_each_once();
        });
        outer.check_each_once();
        ++returned;
      });
    }
    while (returned < kThreads) std::this_thread::yield();
  }
}

}  // namespace
}  // namespace boxconv
