// Checks the properties of core on one problem.
#include "properties.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "number_types.h"
#include "random.h"
#include "reference.h"
#include "run_core.h"
#include "separable_reference.h"

namespace boxconv {
namespace fuzz {
namespace {

// The largest number of failures that are reported for one problem.
constexpr std::size_t kMaxFailures = 5;

// The type in which core sums: double for float64, otherwise float.
template <typename T>
using SumType = typename BoxType<T>::type;

// A bound of the error of rounding a value to T.
template <typename T>
double store_rounding(double value) {
  return rounding_error(value, limits<T>());
}

// Whether `got` can be the result of rounding a value within `tolerance` of `want` to T. Values
// beyond the largest finite one round to infinity.
template <typename T>
bool is_near(double got, double want, double tolerance) {
  const double allowed = tolerance + store_rounding<T>(want);
  if (std::isinf(got)) {
    const double reach = std::fabs(want) + allowed;
    return (got > 0) == (want > 0) && reach > limits<T>().largest;
  }
  return std::fabs(got - want) <= allowed;
}

template <typename T>
class Checker {
 public:
  explicit Checker(const Problem& problem)
      : problem_(problem),
        random_(~problem.seed),
        arguments_(problem),
        reference_(make_reference(problem, limits<SumType<T>>())) {}

  Report run() {
    const Arguments<T> before(problem_);
    const Results<T> results(problem_, arguments_, on_threads(1));
    expect(results.ok, "core returned an error, or wrote to the memory before a result");
    expect(arguments_.same_bits(before), "core wrote to an argument");
    compare("output", results.output, reference_.output);
    compare("input gradient", results.input_grad, reference_.input_grad);
    compare("edge gradient", results.boxes_grad, reference_.boxes_grad);
    check_adjoint(results);
    check_split(results);
    if (random_.chance(0.3)) check_other_layout(results);
    if (random_.chance(0.15)) check_integral_image<float>();
    if (random_.chance(0.15)) check_integral_image<double>();
    constexpr Index kManyResponses = (2 << 20) / sizeof(T);
    if (random_.chance(0.35) || problem_.shape.output_size() > kManyResponses) check_separable();
    return std::move(report_);
  }

  Report run_separable() {
    check_separable();
    return std::move(report_);
  }

 private:
  void expect(bool ok, const std::string& what) {
    if (!ok && report_.failures.size() < kMaxFailures) report_.failures.push_back(what);
  }

  template <typename Stored>
  void compare(const char* name, const Buffer<Stored>& got, const Expected& want) {
    for (std::size_t i = 0; i < got.size(); ++i) {
      const double value = got.value(i);
      if (want.non_finite[i]) {
        ++report_.values;
        if (std::isfinite(value)) fail(name, i, value, std::nan(""), 0);
      } else if (want.tolerances[i] < std::numeric_limits<double>::infinity()) {
        ++report_.values;
        if (!is_near<Stored>(value, want.values[i], want.tolerances[i])) {
          fail(name, i, value, want.values[i],
               want.tolerances[i] + store_rounding<Stored>(want.values[i]));
        }
      }
    }
  }

  void fail(const char* name, std::size_t i, double got, double want, double allowed) {
    char text[200];
    std::snprintf(text, sizeof(text), "%s [%zu]: got %.17g, want %.17g, allowed %.3g", name, i, got,
                  want, allowed);
    expect(false, text);
  }

  // Checks <B x, g> = <x, B^T g>, unless a term has an infinite tolerance.
  void check_adjoint(const Results<T>& results) {
    double forward = 0, backward = 0, tolerance = 0;
    const auto add = [&](const Buffer<T>& result, const Expected& expected,
                         const std::vector<double>& values, double* product) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        *product += result.value(i) * values[i];
        tolerance +=
            std::fabs(values[i]) * (expected.tolerances[i] + store_rounding<T>(expected.values[i]));
        tolerance += std::fabs(*product) * 0x1p-52;
      }
    };
    add(results.output, reference_.output, problem_.output_grad, &forward);
    add(results.input_grad, reference_.input_grad, problem_.input, &backward);
    // The tolerance is infinite or NaN if one of the values is.
    if (!(tolerance < std::numeric_limits<double>::infinity())) return;
    if (!(std::fabs(forward - backward) <= tolerance)) {
      fail("<B x, g> against <x, B^T g>", 0, forward, backward, tolerance);
    }
  }

  void check_split(const Results<T>& results) {
    // Use several threads only sometimes, because starting them takes long.
    const Index threads = random_.chance(0.04) ? random_.pick<Index>({2, 3, 7}) : 1;
    const Results<T> split(problem_, arguments_, RandomSplit(random_.bits(), threads));
    expect(split.ok, "core returned an error when the work was split");
    expect(split.output.same_bits(results.output), "output depends on the split of the work");
    expect(split.input_grad.same_bits(results.input_grad),
           "input gradient depends on the split of the work");
    expect(split.boxes_grad.same_bits(results.boxes_grad),
           "edge gradients depend on the split of the work");
  }

  void check_other_layout(const Results<T>& results) {
    Problem other = problem_;
    other.shape.layout = problem_.shape.layout == Layout::kChannelsLast ? Layout::kChannelsFirst
                                                                        : Layout::kChannelsLast;
    for_each_input([&](Index n, Index y, Index x, Index c) {
      other.input[input_at(other.shape, n, y, x, c)] =
          problem_.input[input_at(problem_.shape, n, y, x, c)];
    });
    for_each_output([&](Index n, Index y, Index x, Index c) {
      other.output_grad[output_at(other.shape, n, y, x, c)] =
          problem_.output_grad[output_at(problem_.shape, n, y, x, c)];
    });
    const Arguments<T> arguments(other);
    const Results<T> turned(other, arguments, RandomSplit(random_.bits(), 1));
    bool outputs = true, input_grads = true;
    for_each_output([&](Index n, Index y, Index x, Index c) {
      outputs = outputs && same(turned.output, output_at(other.shape, n, y, x, c), results.output,
                                output_at(problem_.shape, n, y, x, c));
    });
    for_each_input([&](Index n, Index y, Index x, Index c) {
      input_grads = input_grads && same(turned.input_grad, input_at(other.shape, n, y, x, c),
                                        results.input_grad, input_at(problem_.shape, n, y, x, c));
    });
    expect(turned.ok, "core returned an error in the other layout");
    expect(outputs, "output depends on the layout");
    expect(input_grads, "input gradient depends on the layout");
    compare("edge gradient in the other layout", turned.boxes_grad, reference_.boxes_grad);
  }

  static std::size_t input_at(const BoxConvProblem& p, Index n, Index y, Index x, Index c) {
    return static_cast<std::size_t>(input_index(p, n, y, x, c));
  }
  static std::size_t output_at(const BoxConvProblem& p, Index n, Index y, Index x, Index c) {
    return static_cast<std::size_t>(output_index(p, n, y, x, c));
  }
  // Whether two values are equal. All NaNs are equal here.
  static bool same(const Buffer<T>& a, std::size_t i, const Buffer<T>& b, std::size_t j) {
    const double x = a.value(i), y = b.value(j);
    return x == y || (std::isnan(x) && std::isnan(y));
  }

  template <typename Visit>
  void for_each_input(const Visit& visit) const {
    const BoxConvProblem& p = problem_.shape;
    for_each_pixel(p.batch, p.height, p.width, p.channels, visit);
  }
  template <typename Visit>
  void for_each_output(const Visit& visit) const {
    const BoxConvProblem& p = problem_.shape;
    for_each_pixel(p.batch, p.out_height(), p.out_width(), p.out_channels(), visit);
  }
  template <typename Visit>
  static void for_each_pixel(Index batch, Index height, Index width, Index channels,
                             const Visit& visit) {
    for (Index n = 0; n < batch; ++n) {
      for (Index c = 0; c < channels; ++c) {
        for (Index y = 0; y < height; ++y) {
          for (Index x = 0; x < width; ++x) visit(n, y, x, c);
        }
      }
    }
  }

  template <typename TTable>
  void check_integral_image() {
    const BoxConvProblem& p = problem_.shape;
    const IntegralImageProblem shape{p.batch, p.height, p.width, p.channels, p.layout};
    const Index size = p.batch * (p.height + 1) * (p.width + 1) * p.channels;
    Buffer<TTable> table(size, problem_.misaligned), split(size, problem_.misaligned);
    const T* input = arguments_.input.data();
    expect(integral_image(shape, input, table.data(), on_threads(1)) == Status::kOk,
           "core returned an error for the integral image");
    expect(
        integral_image(shape, input, split.data(), RandomSplit(random_.bits(), 1)) == Status::kOk,
        "core returned an error for the integral image when the work was split");
    expect(table.prefix_untouched(), "core wrote to the memory before the integral image");
    expect(table.same_bits(split), "integral image depends on the split of the work");
    compare("integral image", table, integral_image_reference(problem_));
  }

  void check_separable() {
    const SeparableArguments<T> arguments(problem_), before(problem_);
    const SeparableResults<T> results(problem_, arguments, on_threads(1));
    expect(results.ok, "separable: core returned an error, or wrote to the memory before a result");
    expect(arguments.same_bits(before), "separable: core wrote to an argument");
    const SeparableReference want =
        make_separable_reference(problem_, reference_.output, limits<SumType<T>>(), limits<T>());
    compare("separable output", results.output, want.output);
    compare("separable input gradient", results.input_grad, want.input_grad);
    compare("separable edge gradient", results.boxes_grad, want.boxes_grad);
    compare("kernel gradient", results.kernel_grad, want.kernel_grad);
    compare("bias gradient", results.bias_grad, want.bias_grad);
    check_separable_split(arguments, results, 1);
    if (random_.chance(0.04)) {
      check_separable_split(arguments, results, random_.pick<Index>({2, 4, 7}));
    }
  }

  void check_separable_split(const SeparableArguments<T>& arguments,
                             const SeparableResults<T>& results, Index threads) {
    const SeparableResults<T> split(problem_, arguments, RandomSplit(random_.bits(), threads));
    expect(split.ok, "separable: core returned an error when the work was split");
    expect(split.output.same_bits(results.output), "separable output depends on the split");
    expect(split.input_grad.same_bits(results.input_grad),
           "separable input gradient depends on the split");
    expect(split.boxes_grad.same_bits(results.boxes_grad),
           "separable edge gradients depend on the split");
    expect(split.kernel_grad.same_bits(results.kernel_grad),
           "kernel gradient depends on the split");
    expect(split.bias_grad.same_bits(results.bias_grad), "bias gradient depends on the split");
  }

  const Problem& problem_;
  Random random_;
  const Arguments<T> arguments_;
  Reference reference_;
  Report report_;
};

}  // namespace

Report check(const Problem& problem) {
  return with_type(problem.type, [&](auto t) { return Checker<decltype(t)>(problem).run(); });
}

Report check_separable(const Problem& problem) {
  return with_type(problem.type,
                   [&](auto t) { return Checker<decltype(t)>(problem).run_separable(); });
}

}  // namespace fuzz
}  // namespace boxconv
