// Units of work on a pool of threads: each done once, and an end also where every thread of the
// pool is inside a call, where calls are inside calls, and where the pool starts its tasks late or
// never.
#include "ffi/pool_parallel_for.h"

#include <atomic>
#include <cstdio>
#include <functional>
#include <thread>
#include <vector>

#include "pool.h"

namespace {

using boxconv::Index;
using boxconv::Pool;
using boxconv::pool_parallel_for;

std::atomic<int> failures{0};

void expect(bool ok, const char* what) {
  if (ok) return;
  ++failures;
  std::fprintf(stderr, "FAILED: %s\n", what);
}

constexpr Index kCostly = 1000000;  // nanoseconds: worth a thread for each unit

// A pool that claims threads and never runs a task until it is told to.
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

// How often each unit was done.
class Counts {
 public:
  explicit Counts(Index total) : counts_(total) {}
  std::function<void(Index, Index)> body() {
    return [this](Index begin, Index end) {
      expect(begin < end, "ranges are not empty");
      for (Index i = begin; i < end; ++i) ++counts_[i];
    };
  }
  void expect_each_once() const {
    for (const auto& count : counts_) expect(count == 1, "each unit is done once");
  }

 private:
  std::vector<std::atomic<int>> counts_;
};

void test_each_unit_once() {
  for (const int threads : {1, 2, 3, 8}) {
    Pool pool(threads);
    const auto parallel_for = pool_parallel_for(&pool);
    for (const Index total : {1, 2, 7, 8, 9, 1000}) {
      for (const Index cost : {Index{1}, Index{3000}, kCostly}) {
        Counts counts(total);
        parallel_for(total, cost, counts.body());
        counts.expect_each_once();
      }
    }
  }
}

void test_short_work_stays_with_the_caller() {
  SleepingPool pool;
  Counts counts(100);
  pool_parallel_for (&pool)(100, 10, counts.body());
  counts.expect_each_once();
  expect(pool.tasks() == 0, "a microsecond of work wakes nobody");
}

// The caller does all blocks by itself; tasks that start after its return touch nothing of it.
void test_tasks_that_never_start_in_time() {
  SleepingPool pool;
  {
    Counts counts(100);
    pool_parallel_for (&pool)(100, kCostly, counts.body());
    counts.expect_each_once();
  }
  expect(pool.tasks() == 7, "one task for each thread but the caller");
  pool.wake();
}

// Every thread of the pool is a caller, as when XLA runs handlers on the pool that it gives them;
// a barrier makes sure that all are inside before any asks for help.
void test_all_threads_inside_calls() {
  constexpr int kThreads = 3, kRounds = 300;
  Pool pool(kThreads);
  const auto parallel_for = pool_parallel_for(&pool);
  for (int round = 0; round < kRounds; ++round) {
    std::atomic<int> inside{0}, returned{0};
    for (int i = 0; i < kThreads; ++i) {
      pool.Schedule([&] {
        ++inside;
        while (inside < kThreads) std::this_thread::yield();
        Counts outer(5);
        parallel_for(5, kCostly, [&](Index begin, Index end) {
          outer.body()(begin, end);
          Counts inner(7);  // a call inside a call, on the same pool
          parallel_for(7, kCostly, inner.body());
          inner.expect_each_once();
        });
        outer.expect_each_once();
        ++returned;
      });
    }
    while (returned < kThreads) std::this_thread::yield();
  }
}

}  // namespace

int main() {
  test_each_unit_once();
  test_short_work_stays_with_the_caller();
  test_tasks_that_never_start_in_time();
  test_all_threads_inside_calls();
  std::printf(failures == 0 ? "all passed\n" : "%d failed\n", failures.load());
  return failures == 0 ? 0 : 1;
}
