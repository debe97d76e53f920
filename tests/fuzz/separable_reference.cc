// Computes the expected results of a separable box convolution by direct summation in double.
#include "separable_reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace boxconv {
namespace fuzz {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Core adds chains of up to this many products before it adds them in double, at least in sums over
// pixels.
constexpr double kMaxChain = 8 * 96;

// A number that core computes: its value, the largest error, and whether it must be NaN or
// infinite. If the error is infinite, the number may be anything.
struct Inexact {
  double value = 0, error = 0;
  bool non_finite = false;
};

Inexact exact(double value) {
  if (std::isfinite(value)) return {value, 0, false};
  return {0, 0, true};
}

Inexact element(const Expected& expected, std::size_t i) {
  return {expected.values[i], expected.tolerances[i], expected.non_finite[i] != 0};
}

// The number after it is rounded to a type. A number beyond the largest becomes infinite.
Inexact rounded(Inexact number, const Limits& type) {
  number.error += rounding_error(number.value, type);
  if (!(std::fabs(number.value) + number.error <= type.largest)) number.error = kInfinity;
  return number;
}

// The sum of products that core adds one after the other.
class Sum {
 public:
  explicit Sum(const Limits& type) : type_(type) {}

  void add(const Inexact& a, const Inexact& b) {
    sum_.non_finite = sum_.non_finite || a.non_finite || b.non_finite;
    unchecked_ = unchecked_ || std::isinf(a.error) || std::isinf(b.error);
    sum_.value += a.value * b.value;
    const double a_bound = std::fabs(a.value) + a.error, b_bound = std::fabs(b.value) + b.error;
    error_ += a.error * b_bound + b.error * std::fabs(a.value);
    magnitude_ += a_bound * b_bound;
    ++terms_;
  }

  Inexact result() const {
    Inexact sum = sum_;
    // Products and sums round, and each subnormal one loses up to the last place.
    const double roundings = std::min(terms_, kMaxChain) + 4;
    sum.error = error_ + roundings * type_.rounding * magnitude_ + (terms_ + 2) * type_.smallest;
    if (unchecked_ || !(magnitude_ < type_.largest / 16)) sum.error = kInfinity;
    return sum;
  }

 private:
  const Limits type_;
  Inexact sum_;
  double error_ = 0, magnitude_ = 0, terms_ = 0;
  bool unchecked_ = false;
};

void set(Expected* expected, Index i, const Inexact& number) {
  const auto at = static_cast<std::size_t>(i);
  expected->values[at] = number.value;
  expected->tolerances[at] = number.error;
  expected->non_finite[at] = number.non_finite;
}

class Maker {
 public:
  Maker(const Problem& problem, const Expected& responses, const Limits& sums, const Limits& stored)
      : problem_(problem),
        p_(problem.separable()),
        responses_(responses),
        sums_(sums),
        stored_(stored) {}

  SeparableReference make() const {
    SeparableReference reference;
    reference.output = output();
    reference.kernel_grad = kernel_grad();
    reference.bias_grad = bias_grad();
    add_gradients_of_box_conv(&reference);
    return reference;
  }

 private:
  Index depth() const { return p_.box_conv.out_channels(); }

  Inexact response(Index n, Index y, Index x, Index k) const {
    const auto i = static_cast<std::size_t>(output_index(p_.box_conv, n, y, x, k));
    return rounded(element(responses_, i), stored_);
  }
  Inexact weight(Index k, Index f) const {
    return exact(problem_.kernel[static_cast<std::size_t>(k * p_.filters + f)]);
  }
  Inexact grad(Index n, Index y, Index x, Index f) const {
    return exact(problem_.mixed_grad[static_cast<std::size_t>(mixed_index(p_, n, y, x, f))]);
  }

  // Calls visit(n, y, x) for each pixel of the output.
  template <typename Visit>
  void for_each_pixel(const Visit& visit) const {
    for (Index n = 0; n < p_.box_conv.batch; ++n) {
      for (Index y = 0; y < p_.box_conv.out_height(); ++y) {
        for (Index x = 0; x < p_.box_conv.out_width(); ++x) visit(n, y, x);
      }
    }
  }

  Expected output() const {
    Expected expected(p_.output_size());
    for_each_pixel([&](Index n, Index y, Index x) {
      for (Index f = 0; f < p_.filters; ++f) {
        Sum sum(sums_);
        sum.add(exact(problem_.bias[static_cast<std::size_t>(f)]), exact(1));
        for (Index k = 0; k < depth(); ++k) sum.add(response(n, y, x, k), weight(k, f));
        set(&expected, mixed_index(p_, n, y, x, f), sum.result());
      }
    });
    return expected;
  }

  Expected kernel_grad() const {
    Expected expected(p_.kernel_size());
    for (Index k = 0; k < depth(); ++k) {
      for (Index f = 0; f < p_.filters; ++f) {
        Sum sum(sums_);
        for_each_pixel(
            [&](Index n, Index y, Index x) { sum.add(response(n, y, x, k), grad(n, y, x, f)); });
        set(&expected, k * p_.filters + f, sum.result());
      }
    }
    return expected;
  }

  Expected bias_grad() const {
    Expected expected(p_.filters);
    for (Index f = 0; f < p_.filters; ++f) {
      Sum sum(sums_);
      for_each_pixel([&](Index n, Index y, Index x) { sum.add(grad(n, y, x, f), exact(1)); });
      set(&expected, f, sum.result());
    }
    return expected;
  }

  // The gradients of the box convolution are linear in the upstream gradient, here that of the
  // responses. So the error of that gradient adds at most the sum of the magnitudes of all terms
  // with the error as the upstream gradient.
  void add_gradients_of_box_conv(SeparableReference* reference) const {
    Problem values = problem_, errors = problem_;
    for_each_pixel([&](Index n, Index y, Index x) {
      for (Index k = 0; k < depth(); ++k) {
        Sum sum(sums_);
        for (Index f = 0; f < p_.filters; ++f) sum.add(grad(n, y, x, f), weight(k, f));
        const Inexact total = rounded(sum.result(), stored_);
        const auto at = static_cast<std::size_t>(output_index(p_.box_conv, n, y, x, k));
        const bool checked = std::isfinite(total.error);
        values.output_grad[at] = total.non_finite ? std::nan("") : checked ? total.value : 0;
        errors.output_grad[at] = total.non_finite ? 0 : total.error;
      }
    });
    Reference by_value = make_reference(values, sums_);
    const Reference by_error = make_reference(errors, sums_);
    reference->input_grad = with_errors(std::move(by_value.input_grad), by_error.input_grad);
    reference->boxes_grad = with_errors(std::move(by_value.boxes_grad), by_error.boxes_grad);
  }

  static Expected with_errors(Expected expected, const Expected& errors) {
    for (std::size_t i = 0; i < expected.values.size(); ++i) {
      expected.tolerances[i] += errors.magnitudes[i] + errors.tolerances[i];
    }
    return expected;
  }

  const Problem& problem_;
  const SeparableBoxConvProblem p_;
  const Expected& responses_;
  const Limits sums_, stored_;
};

}  // namespace

SeparableReference make_separable_reference(const Problem& problem, const Expected& responses,
                                            const Limits& sums, const Limits& stored) {
  return Maker(problem, responses, sums, stored).make();
}

}  // namespace fuzz
}  // namespace boxconv
