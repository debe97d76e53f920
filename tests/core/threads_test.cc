// Core on every kind of threads that the project starts or borrows, for the thread sanitizer: the
// handlers' use of a pool, and threads of its own for callers of the C interface. Several callers
// at once share the pool, as in a server. Results must have the bits that one thread gives.
#include "core/cpu/threads.h"

#include <atomic>
#include <cstdio>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include "core/c_api/boxconv.h"
#include "core/cpu/box_conv.h"
#include "ffi/pool_parallel_for.h"
#include "pool.h"

namespace {

using boxconv::BoxConvProblem;
using boxconv::Index;
using boxconv::IntegralImageProblem;
using boxconv::Layout;
using boxconv::Normalization;
using boxconv::ParallelFor;
using boxconv::Pool;
using boxconv::Status;

std::atomic<int> failures{0};

void expect(bool ok, const char* what) {
  if (ok) return;
  ++failures;
  std::fprintf(stderr, "FAILED: %s\n", what);
}

void serial(Index total, Index, const std::function<void(Index, Index)>& body) { body(0, total); }

// Says that every unit is worth a thread, so that small problems use all threads.
ParallelFor with_costly_units(ParallelFor parallel_for) {
  return [parallel_for](Index total, Index, const std::function<void(Index, Index)>& body) {
    parallel_for(total, 1000000, body);
  };
}

std::vector<float> numbers(Index count, float scale) {
  std::vector<float> values(static_cast<std::size_t>(count));
  unsigned state = 1;
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = scale * (static_cast<float>(state >> 8) / 8388608.0f - 1);
  }
  return values;
}

// Boxes of some three pixels to either side, so that large planes have several tiles.
std::vector<float> boxes_of(const BoxConvProblem& p) {
  std::vector<float> boxes = numbers(p.boxes_size(), 2);
  for (std::size_t i = 0; i < boxes.size(); ++i) boxes[i] += i % 4 < 2 ? -1.0f : 1.5f;
  return boxes;
}

struct Results {
  std::vector<float> output, input_grad, boxes_grad, table;

  explicit Results(const BoxConvProblem& p)
      : output(static_cast<std::size_t>(p.output_size())),
        input_grad(static_cast<std::size_t>(p.input_size())),
        boxes_grad(static_cast<std::size_t>(p.boxes_size())),
        table(static_cast<std::size_t>(p.batch * p.channels * (p.height + 1) * (p.width + 1))) {}

  bool operator==(const Results& other) const {
    return output == other.output && input_grad == other.input_grad &&
           boxes_grad == other.boxes_grad && table == other.table;
  }
};

struct Case {
  BoxConvProblem p;
  std::vector<float> input, boxes, output_grad;

  explicit Case(const BoxConvProblem& problem)
      : p(problem),
        input(numbers(p.input_size(), 1)),
        boxes(boxes_of(p)),
        output_grad(numbers(p.output_size(), 1)) {}

  Results run(const ParallelFor& parallel_for) const {
    Results r(p);
    const IntegralImageProblem images{p.batch, p.height, p.width, p.channels, p.layout};
    expect(boxconv::box_conv_forward(p, input.data(), boxes.data(), r.output.data(),
                                     parallel_for) == Status::kOk &&
               boxconv::box_conv_backward(p, input.data(), boxes.data(), output_grad.data(),
                                          r.input_grad.data(), r.boxes_grad.data(),
                                          parallel_for) == Status::kOk &&
               boxconv::integral_image(images, input.data(), r.table.data(), parallel_for) ==
                   Status::kOk,
           "status");
    return r;
  }

  Results run_c(int threads) const {
    Results r(p);
    const boxconv_problem problem{p.batch,
                                  p.height,
                                  p.width,
                                  p.channels,
                                  p.boxes_per_channel,
                                  p.stride_y,
                                  p.stride_x,
                                  static_cast<int>(p.layout),
                                  static_cast<int>(p.normalization),
                                  BOXCONV_FLOAT32};
    expect(boxconv_cpu_forward(&problem, input.data(), boxes.data(), r.output.data(), threads) ==
                   nullptr &&
               boxconv_cpu_backward(&problem, input.data(), boxes.data(), output_grad.data(),
                                    r.input_grad.data(), r.boxes_grad.data(), threads) == nullptr &&
               boxconv_cpu_integral_image(&problem, 1, input.data(), r.table.data(), threads) ==
                   nullptr,
           "status of the C interface");
    return r;
  }
};

// Blocks of channels that share cache lines, several images, several tiles.
std::vector<Case> make_cases() {
  std::vector<Case> cases;
  for (const Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst}) {
    for (const Normalization normalization :
         {Normalization::kNone, Normalization::kArea, Normalization::kValid}) {
      BoxConvProblem p;
      p.layout = layout;
      p.normalization = normalization;
      p.batch = 2, p.height = 5, p.width = 9, p.channels = 37, p.boxes_per_channel = 2;
      cases.emplace_back(p);
      p.batch = 1, p.height = 300, p.width = 7, p.channels = 2, p.boxes_per_channel = 1;
      p.stride_x = 2;
      cases.emplace_back(p);
    }
  }
  return cases;
}

// Callers start together, so that core is used for the first time by all at once.
void run_together(int callers, const std::function<void()>& body) {
  std::atomic<int> waiting{callers};
  std::vector<std::thread> threads;
  for (int i = 0; i < callers; ++i) {
    threads.emplace_back([&] {
      --waiting;
      while (waiting > 0) std::this_thread::yield();
      body();
    });
  }
  for (std::thread& thread : threads) thread.join();
}

void test_callers_that_share_a_pool(const std::vector<Case>& cases) {
  Pool pool(3);
  const ParallelFor parallel_for = with_costly_units(boxconv::pool_parallel_for(&pool));
  std::vector<std::vector<Results>> got(3);
  std::atomic<std::size_t> next{0};
  run_together(3, [&] {
    std::vector<Results>& results = got[next++];
    for (const Case& c : cases) results.push_back(c.run(parallel_for));
  });
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const Results want = cases[i].run(serial);
    for (const auto& results : got) expect(results[i] == want, "bits of results on a pool");
  }
}

void test_threads_of_its_own(const std::vector<Case>& cases) {
  const ParallelFor parallel_for = with_costly_units(boxconv::on_threads(4));
  for (const Case& c : cases) {
    expect(c.run(parallel_for) == c.run(serial), "bits of results on threads of its own");
  }
}

// Large enough for the C interface to start threads, from two callers at once.
void test_c_interface() {
  BoxConvProblem p;
  p.batch = 2, p.height = 48, p.width = 48, p.channels = 40, p.boxes_per_channel = 2;
  const Case c(p);
  const Results want = c.run(serial);
  run_together(2, [&] { expect(c.run_c(3) == want, "bits of results by the C interface"); });
}

}  // namespace

int main() {
  const std::vector<Case> cases = make_cases();
  test_callers_that_share_a_pool(cases);
  test_threads_of_its_own(cases);
  test_c_interface();
  std::printf("%s kernels: %d failures\n", boxconv::instruction_set(), failures.load());
  return failures == 0 ? 0 : 1;
}
