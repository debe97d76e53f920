// Runs core on several threads, for the thread sanitizer: on a pool like XLA's that several callers
// use at once, as in a server, and on the threads that core itself starts behind the C interface.
// Results must have the same bits as on one thread.
#include "core/cpu/threads.h"

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "check.h"
#include "core/c_api/boxconv.h"
#include "core/cpu/box_conv.h"
#include "core/cpu/separable_box_conv.h"
#include "ffi/pool_parallel_for.h"
#include "pool.h"

namespace boxconv {
namespace {

// Pretends that each tile takes a millisecond, so that even small problems use all threads.
ParallelFor with_costly_tiles(ParallelFor parallel_for) {
  return [parallel_for](Index total, Index, const std::function<void(Index, Index)>& body) {
    parallel_for(total, 1000000, body);
  };
}

std::vector<float> random_values(Index count, float scale) {
  std::vector<float> values(static_cast<std::size_t>(count));
  unsigned state = 1;
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = scale * (static_cast<float>(state >> 8) / 8388608.0f - 1);
  }
  return values;
}

// Boxes that reach about three pixels to the left and right, and `scale_y` times as far up and
// down.
std::vector<float> boxes_of(const BoxConvProblem& p, float scale_y) {
  std::vector<float> boxes = random_values(p.boxes_size(), 2);
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    boxes[i] += i % 4 < 2 ? -1.0f : 1.5f;
    if (i % 2 == 0) boxes[i] *= scale_y;
  }
  return boxes;
}

constexpr Index kFilters = 19;

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

struct SeparableResults {
  std::vector<float> output, input_grad, boxes_grad, kernel_grad, bias_grad;

  explicit SeparableResults(const SeparableBoxConvProblem& p)
      : output(static_cast<std::size_t>(p.output_size())),
        input_grad(static_cast<std::size_t>(p.box_conv.input_size())),
        boxes_grad(static_cast<std::size_t>(p.box_conv.boxes_size())),
        kernel_grad(static_cast<std::size_t>(p.kernel_size())),
        bias_grad(static_cast<std::size_t>(p.filters)) {}

  bool operator==(const SeparableResults& other) const {
    return output == other.output && input_grad == other.input_grad &&
           boxes_grad == other.boxes_grad && kernel_grad == other.kernel_grad &&
           bias_grad == other.bias_grad;
  }
};

struct Case {
  BoxConvProblem p;
  SeparableBoxConvProblem separable;
  std::vector<float> input, boxes, output_grad, kernel, bias, mixed_grad;

  explicit Case(const BoxConvProblem& problem, float scale_y = 1)
      : p(problem),
        separable{problem, kFilters},
        input(random_values(p.input_size(), 1)),
        boxes(boxes_of(p, scale_y)),
        output_grad(random_values(p.output_size(), 1)),
        kernel(random_values(separable.kernel_size(), 1)),
        bias(random_values(kFilters, 1)),
        mixed_grad(random_values(separable.output_size(), 1)) {}

  Results run(const ParallelFor& parallel_for) const {
    Results r(p);
    const IntegralImageProblem images{p.batch, p.height, p.width, p.channels, p.layout};
    CHECK(box_conv_forward(p, input.data(), boxes.data(), r.output.data(), parallel_for) ==
          Status::kOk);
    CHECK(box_conv_backward(p, input.data(), boxes.data(), output_grad.data(), r.input_grad.data(),
                            r.boxes_grad.data(), parallel_for) == Status::kOk);
    CHECK(integral_image(images, input.data(), r.table.data(), parallel_for) == Status::kOk);
    return r;
  }

  SeparableResults run_separable(const ParallelFor& parallel_for) const {
    SeparableResults r(separable);
    CHECK(separable_box_conv_forward(separable, input.data(), boxes.data(), kernel.data(),
                                     bias.data(), r.output.data(), parallel_for) == Status::kOk);
    CHECK(separable_box_conv_backward(separable, input.data(), boxes.data(), kernel.data(),
                                      mixed_grad.data(), r.input_grad.data(), r.boxes_grad.data(),
                                      r.kernel_grad.data(), r.bias_grad.data(),
                                      parallel_for) == Status::kOk);
    return r;
  }

  Results run_on_one_thread() const { return run(on_threads(1)); }
  SeparableResults run_separable_on_one_thread() const { return run_separable(on_threads(1)); }

  Results run_by_the_c_interface(int threads) const {
    Results r(p);
    const boxconv_problem problem = c_problem();
    CHECK(boxconv_cpu_forward(&problem, input.data(), boxes.data(), r.output.data(), threads) ==
          nullptr);
    CHECK(boxconv_cpu_backward(&problem, input.data(), boxes.data(), output_grad.data(),
                               r.input_grad.data(), r.boxes_grad.data(), threads) == nullptr);
    CHECK(boxconv_cpu_integral_image(&problem, 1, input.data(), r.table.data(), threads) ==
          nullptr);
    return r;
  }

  SeparableResults run_separable_by_the_c_interface(int threads) const {
    SeparableResults r(separable);
    const boxconv_problem problem = c_problem();
    CHECK(boxconv_cpu_separable_forward(&problem, kFilters, input.data(), boxes.data(),
                                        kernel.data(), bias.data(), r.output.data(),
                                        threads) == nullptr);
    CHECK(boxconv_cpu_separable_backward(&problem, kFilters, input.data(), boxes.data(),
                                         kernel.data(), mixed_grad.data(), r.input_grad.data(),
                                         r.boxes_grad.data(), r.kernel_grad.data(),
                                         r.bias_grad.data(), threads) == nullptr);
    return r;
  }

 private:
  boxconv_problem c_problem() const {
    return {p.batch,
            p.height,
            p.width,
            p.channels,
            p.boxes_per_channel,
            p.stride_y,
            p.stride_x,
            static_cast<int>(p.layout),
            static_cast<int>(p.normalization),
            BOXCONV_FLOAT32};
  }
};

// Problems with several images, with tiles that share cache lines, with several tiles an image,
// with planes that are large enough for running sums, and with small planes of many images. On
// large planes, large boxes give tiles that all threads share.
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
      p.width = 40, p.channels = 11;
      cases.emplace_back(p);
      cases.emplace_back(p, /*scale_y=*/100.0f);
      if (layout == Layout::kChannelsLast && normalization == Normalization::kArea) {
        BoxConvProblem of_two_steps = p;
        of_two_steps.width = 300, of_two_steps.channels = 16, of_two_steps.stride_x = 1;
        cases.emplace_back(of_two_steps, /*scale_y=*/100.0f);
      }
      p.batch = 19, p.height = 6, p.width = 7, p.channels = 37;
      cases.emplace_back(p);
    }
  }
  return cases;
}

// Runs body() in several threads at the same time. In the first test, the threads thus make the
// first calls of core together.
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

TEST(callers_share_a_pool) {
  const std::vector<Case> cases = make_cases();
  Pool pool(3);
  const ParallelFor parallel_for = with_costly_tiles(pool_parallel_for(&pool));
  std::vector<std::vector<Results>> got(3);
  std::vector<std::vector<SeparableResults>> separable(3);
  std::atomic<std::size_t> next{0};
  run_together(3, [&] {
    const std::size_t caller = next++;
    for (const Case& c : cases) {
      got[caller].push_back(c.run(parallel_for));
      separable[caller].push_back(c.run_separable(parallel_for));
    }
  });
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const Results want = cases[i].run_on_one_thread();
    for (const auto& results : got) CHECK(results[i] == want);
    const SeparableResults want_separable = cases[i].run_separable_on_one_thread();
    for (const auto& results : separable) CHECK(results[i] == want_separable);
  }
}

TEST(core_starts_threads) {
  const ParallelFor parallel_for = with_costly_tiles(on_threads(4));
  for (const Case& c : make_cases()) {
    CHECK(c.run(parallel_for) == c.run_on_one_thread());
    CHECK(c.run_separable(parallel_for) == c.run_separable_on_one_thread());
  }
}

// The problem is large enough for the C interface to start threads.
TEST(the_c_interface_starts_threads_for_two_callers) {
  BoxConvProblem p;
  p.batch = 2, p.height = 48, p.width = 48, p.channels = 40, p.boxes_per_channel = 2;
  const Case c(p);
  const Results want = c.run_on_one_thread();
  const SeparableResults want_separable = c.run_separable_on_one_thread();
  run_together(2, [&] {
    CHECK(c.run_by_the_c_interface(3) == want);
    CHECK(c.run_separable_by_the_c_interface(3) == want_separable);
  });
}

TEST(the_c_interface_refuses_a_negative_number_of_filters) {
  const boxconv_problem problem{
      1, 1, 1, 1, 1, 1, 1, BOXCONV_CHANNELS_LAST, BOXCONV_AREA, BOXCONV_FLOAT32};
  const float value = 1, boxes[4] = {-0.5f, -0.5f, 0.5f, 0.5f};
  float output = 0;
  const char* error =
      boxconv_cpu_separable_forward(&problem, -1, &value, boxes, &value, &value, &output, 1);
  CHECK_CONTAINS(error == nullptr ? "" : error, "filters must not be negative");
}

}  // namespace
}  // namespace boxconv
