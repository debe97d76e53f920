// Computes the expected results by direct summation, box by box.
#include "reference.h"

#include <cmath>
#include <limits>

#include "axis.h"
#include "plane.h"

namespace boxconv {
namespace fuzz {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// The largest number of rounding errors in a result. Each is relative to the sum of the magnitudes
// of the terms. Core adds chains of up to 64 values along each axis, and all additions may round in
// the same direction. In float32, 128 rounding errors are 7.6e-6, below the documented 1e-5.
constexpr double kRoundings = 2 * 64;
// Edge gradients are dot products of such sums, again in chains of up to 64 values.
constexpr double kEdgeRoundings = 3 * 64;
// If a pixel has less weight than this, core may round the weight to zero. Then the box only
// touches the pixel.
constexpr double kCertainWeight = 1e-6;

double magnitude(double value) { return std::fabs(value); }
double finite_or_zero(double value) { return std::isfinite(value) ? value : 0; }
double non_finite(double value) { return std::isfinite(value) ? 0 : 1; }

// A plane of the input or output gradient. Values that are not finite are 0 in `finite` and
// `magnitudes`, and 1 in `non_finite`; all others are 0 in `non_finite`.
struct Values {
  Plane finite, magnitudes, non_finite;
  bool all_finite;

  explicit Values(const Plane& plane)
      : finite(map(plane, finite_or_zero)),
        magnitudes(map(finite, magnitude)),
        non_finite(map(plane, fuzz::non_finite)),
        all_finite(largest(non_finite) == 0) {}
};

// A box that is not empty.
class Box {
 public:
  Box(const double* edges, const BoxConvProblem& p, double rounding)
      : rows_(make_axis(edges[0], edges[2], p.height, p.stride_y, p.normalization, rounding)),
        columns_(make_axis(edges[1], edges[3], p.width, p.stride_x, p.normalization, rounding)),
        factors_(p.out_height(), p.out_width()) {
    for (Index i = 0; i < factors_.rows; ++i) {
      for (Index j = 0; j < factors_.columns; ++j) {
        const double area = row(i).extent * column(j).extent;
        factors_.row(i)[j] = area > 0 ? 1 / area : 0;
      }
    }
  }

  const Axis& rows() const { return rows_; }
  const Axis& columns() const { return columns_; }
  const TouchedPixels& row(Index i) const { return rows_.outputs[static_cast<std::size_t>(i)]; }
  const TouchedPixels& column(Index j) const {
    return columns_.outputs[static_cast<std::size_t>(j)];
  }
  // The factor of each output: 1 / divisor of the normalization.
  const Plane& factors() const { return factors_; }
  double max_factor() const { return std::max(1.0, largest(factors_)); }

  Plane sums(const Plane& plane) const {
    return sum_columns(columns_, columns_.weights, sum_rows(rows_, rows_.weights, plane));
  }
  Plane bounds(const Plane& plane) const {
    return sum_columns(columns_, columns_.bounds, sum_rows(rows_, rows_.bounds, plane));
  }
  // The number of marks that the box of each output touches.
  Plane touched(const Plane& marks) const {
    return sum_columns(columns_, ones(columns_), sum_rows(rows_, ones(rows_), marks));
  }
  // The adjoints of the three functions above.
  Plane spread(const Plane& plane) const {
    return spread_columns(columns_, columns_.weights, spread_rows(rows_, rows_.weights, plane));
  }
  Plane spread_bounds(const Plane& plane) const {
    return spread_columns(columns_, columns_.bounds, spread_rows(rows_, rows_.bounds, plane));
  }
  Plane spread_touched(const Plane& marks) const {
    return spread_columns(columns_, ones(columns_), spread_rows(rows_, ones(rows_), marks));
  }

  // Sums over the row or column that an edge enters when the box grows.
  Plane row_edge(Index TouchedPixels::* edge, const Plane& plane, bool bounds) const {
    return sum_columns(columns_, bounds ? columns_.bounds : columns_.weights,
                       edge_rows(rows_, edge, plane));
  }
  Plane column_edge(Index TouchedPixels::* edge, const Plane& plane, bool bounds) const {
    const Plane down = sum_rows(rows_, bounds ? rows_.bounds : rows_.weights, plane);
    return edge_columns(columns_, edge, down);
  }

 private:
  static std::vector<double> ones(const Axis& axis) {
    return std::vector<double>(axis.weights.size(), 1.0);
  }

  Axis rows_, columns_;
  Plane factors_;
};

Plane times(Plane a, const Plane& b) {
  for (std::size_t i = 0; i < a.values.size(); ++i) a.values[i] *= b.values[i];
  return a;
}

class ReferenceMaker {
 public:
  ReferenceMaker(const Problem& problem, const Limits& sums)
      : problem_(problem),
        p_(problem.shape),
        sums_(sums),
        // Core limits its factors. Boxes so thin that their factor is larger are not checked.
        max_checked_factor_(sums.largest > 1e300 ? 1e299 : 1e29),
        reference_{Expected(p_.output_size()), Expected(p_.input_size()),
                   Expected(p_.boxes_size())} {}

  Reference make() {
    for (Index c = 0; c < p_.channels; ++c) {
      for (Index m = 0; m < p_.boxes_per_channel; ++m) {
        const Index i = c * p_.boxes_per_channel + m;
        const double* edges = &problem_.boxes[static_cast<std::size_t>(4 * i)];
        if (is_empty(edges)) continue;
        const Box box(edges, p_, sums_.rounding);
        for (Index n = 0; n < p_.batch; ++n) add_image(box, n, c, i);
      }
    }
    return std::move(reference_);
  }

 private:
  void add_image(const Box& box, Index n, Index c, Index i) {
    const Values image(image_plane(n, c)), grad(grad_plane(n, i));
    add_output(box, image, n, i);
    add_input_grad(box, grad, n, c);
    add_edges(box, image, grad, i);
  }

  Plane image_plane(Index n, Index c) const {
    Plane plane(p_.height, p_.width);
    for (Index y = 0; y < plane.rows; ++y) {
      for (Index x = 0; x < plane.columns; ++x) {
        plane.row(y)[x] = problem_.input[static_cast<std::size_t>(input_index(p_, n, y, x, c))];
      }
    }
    return plane;
  }
  Plane grad_plane(Index n, Index i) const {
    Plane plane(p_.out_height(), p_.out_width());
    for (Index y = 0; y < plane.rows; ++y) {
      for (Index x = 0; x < plane.columns; ++x) {
        plane.row(y)[x] =
            problem_.output_grad[static_cast<std::size_t>(output_index(p_, n, y, x, i))];
      }
    }
    return plane;
  }

  bool may_overflow(double bound) const { return !(bound < sums_.largest / 16); }

  void add_output(const Box& box, const Values& image, Index n, Index i) {
    const Plane value = times(box.sums(image.finite), box.factors());
    const Plane sums = box.bounds(image.magnitudes), touched = box.touched(image.magnitudes);
    for (Index y = 0; y < value.rows; ++y) {
      for (Index x = 0; x < value.columns; ++x) {
        const auto at = static_cast<std::size_t>(output_index(p_, n, y, x, i));
        const double scale = box.factors().row(y)[x], sum = sums.row(y)[x];
        // Each addition of subnormal numbers may lose the last place.
        const double rows = static_cast<double>(box.row(y).end - box.row(y).first + 4);
        const double columns = static_cast<double>(box.column(x).end - box.column(x).first + 4);
        const double lost = rows * columns * std::max(1.0, scale) + touched.row(y)[x];
        reference_.output.values[at] = value.row(y)[x];
        reference_.output.magnitudes[at] = sum * scale;
        reference_.output.tolerances[at] =
            scale > max_checked_factor_ || may_overflow(touched.row(y)[x])
                ? kInfinity
                : kRoundings * sums_.rounding * sum * scale + sums_.smallest * lost;
      }
    }
    if (image.all_finite) return;
    mark(box.touched(image.non_finite), box.sums(image.non_finite), &reference_.output,
         [&](Index y, Index x) { return output_index(p_, n, y, x, i); });
  }

  void add_input_grad(const Box& box, const Values& grad, Index n, Index c) {
    const Plane scaled_magnitudes = times(grad.magnitudes, box.factors());
    const Plane value = box.spread(times(grad.finite, box.factors()));
    const Plane scaled = box.spread_bounds(scaled_magnitudes);
    const Plane touched = box.spread_touched(grad.magnitudes);
    const Plane scaled_touched = box.spread_touched(scaled_magnitudes);
    const bool unchecked =
        box.max_factor() > max_checked_factor_ || may_overflow(largest(scaled_magnitudes));
    const double lost =
        static_cast<double>((p_.out_height() + 4) * (p_.out_width() + 4)) * box.max_factor();
    for (Index y = 0; y < value.rows; ++y) {
      for (Index x = 0; x < value.columns; ++x) {
        const auto at = static_cast<std::size_t>(input_index(p_, n, y, x, c));
        const double sum = scaled.row(y)[x], plain = touched.row(y)[x];
        const double boxes = static_cast<double>(p_.boxes_per_channel);
        const bool overflows =
            may_overflow(boxes * plain) || may_overflow(boxes * scaled_touched.row(y)[x]);
        reference_.input_grad.values[at] += value.row(y)[x];
        reference_.input_grad.magnitudes[at] += sum;
        reference_.input_grad.tolerances[at] +=
            unchecked || overflows
                ? kInfinity
                : kRoundings * sums_.rounding * sum + sums_.smallest * (lost + plain);
      }
    }
    if (grad.all_finite) return;
    mark(box.spread_touched(grad.non_finite), box.spread(grad.non_finite), &reference_.input_grad,
         [&](Index y, Index x) { return input_index(p_, n, y, x, c); });
  }

  // If a box contains a NaN or infinity, the result must not be finite. If it only touches one, the
  // result is not checked.
  template <typename IndexOf>
  static void mark(const Plane& touched, const Plane& weight, Expected* expected,
                   const IndexOf& index_of) {
    for (Index y = 0; y < touched.rows; ++y) {
      for (Index x = 0; x < touched.columns; ++x) {
        const auto at = static_cast<std::size_t>(index_of(y, x));
        if (touched.row(y)[x] > 0) expected->tolerances[at] = kInfinity;
        if (weight.row(y)[x] > kCertainWeight) expected->non_finite[at] = true;
      }
    }
  }

  void add_edges(const Box& box, const Values& image, const Values& grad, Index i) {
    const Plane grads = times(grad.finite, box.factors());
    const Plane bounds = times(grad.magnitudes, box.factors());
    const Plane sums = box.sums(image.finite), sum_bounds = box.bounds(image.magnitudes);
    const bool unchecked = edges_unchecked(box, image, grad);
    const double lost = lost_by_edges(box, image, grad);
    for (int edge = 0; edge < 4; ++edge) {
      const bool of_rows = edge % 2 == 0, high = edge >= 2;
      const auto pixel = high ? &TouchedPixels::max_pixel : &TouchedPixels::min_pixel;
      const auto sum_of = [&](const Plane& plane, bool bounds) {
        return of_rows ? box.row_edge(pixel, plane, bounds) : box.column_edge(pixel, plane, bounds);
      };
      const Plane gains = sum_of(image.finite, false), gain_bounds = sum_of(image.magnitudes, true);
      // In double, a sum over a large plane would have larger errors than core's.
      long double value = 0;
      double bound = 0;
      for (Index y = 0; y < grads.rows; ++y) {
        for (Index x = 0; x < grads.columns; ++x) {
          const TouchedPixels& t = of_rows ? box.row(y) : box.column(x);
          const bool grows = high ? t.max_grows : t.min_grows;
          const double loss = grows && t.extent > 0 ? 1 / t.extent : 0;
          value += grads.row(y)[x] * (gains.row(y)[x] - loss * sums.row(y)[x]);
          bound += bounds.row(y)[x] * (gain_bounds.row(y)[x] + loss * sum_bounds.row(y)[x]);
        }
      }
      const auto at = static_cast<std::size_t>(4 * i + edge);
      reference_.boxes_grad.values[at] += static_cast<double>(high ? value : -value);
      reference_.boxes_grad.magnitudes[at] += bound;
      reference_.boxes_grad.tolerances[at] +=
          unchecked || may_overflow(bound)
              ? kInfinity
              : kEdgeRoundings * sums_.rounding * bound + sums_.smallest * lost;
    }
  }

  // Edge gradients are dot products over a whole plane, so any NaN in it may reach them.
  bool edges_unchecked(const Box& box, const Values& image, const Values& grad) const {
    if (!image.all_finite || !grad.all_finite) return true;
    const double scale = box.max_factor();
    const double bound =
        largest(image.magnitudes) * (1 + sum(grad.magnitudes)) * scale * (1 + per_extent(box));
    return scale > max_checked_factor_ || may_overflow(bound) ||
           may_overflow(sum(grad.magnitudes) * scale);
  }
  double lost_by_edges(const Box& box, const Values& image, const Values& grad) const {
    const double pixels = static_cast<double>(p_.height * p_.width);
    return (pixels + sum(image.magnitudes)) * (pixels + sum(grad.magnitudes)) * box.max_factor() *
           (1 + per_extent(box));
  }
  static double per_extent(const Box& box) {
    return 1 / box.rows().min_extent + 1 / box.columns().min_extent;
  }

  const Problem& problem_;
  const BoxConvProblem& p_;
  const Limits sums_;
  const double max_checked_factor_;
  Reference reference_;
};

double largest_finite(const std::vector<double>& values) {
  double largest = 0;
  for (const double value : values) {
    if (std::isfinite(value)) largest = std::fmax(largest, std::fabs(value));
  }
  return largest;
}

void add_to_all(double amount, Expected* expected) {
  for (double& tolerance : expected->tolerances) tolerance += amount;
}

// On large planes, sums down the columns are differences of sums in double. Each row may leave a
// rounding error of the sum of all rows, even where the box contains only zeros.
void add_errors_of_running_sums(const Problem& problem, Reference* reference) {
  const BoxConvProblem& p = problem.shape;
  if (std::max(p.height, p.width) <= 200 || p.width < 16) return;
  const double height = static_cast<double>(p.height), width = static_cast<double>(p.width);
  const double x = largest_finite(problem.input), g = largest_finite(problem.output_grad);
  // Of a response to values up to 1. With the other normalizations, the weights of a row sum to 1
  // or less.
  const double error =
      height * height * 0x1p-53 * (p.normalization == Normalization::kNone ? width : 1);
  add_to_all(error * x, &reference->output);
  add_to_all(error * g * static_cast<double>(p.boxes_per_channel), &reference->input_grad);
  add_to_all(error * x * g * height * width, &reference->boxes_grad);
}

}  // namespace

Reference make_reference(const Problem& problem, const Limits& sums) {
  Reference reference = ReferenceMaker(problem, sums).make();
  if (problem.type != NumberType::kFloat64) add_errors_of_running_sums(problem, &reference);
  return reference;
}

Expected integral_image_reference(const Problem& problem) {
  const BoxConvProblem& p = problem.shape;
  BoxConvProblem table = p;
  ++table.height;
  ++table.width;
  Expected expected(table.input_size());
  for (Index n = 0; n < p.batch; ++n) {
    for (Index c = 0; c < p.channels; ++c) {
      // Sums of each column over the rows above y.
      std::vector<double> sums(static_cast<std::size_t>(p.width)), magnitudes(sums), marks(sums);
      for (Index y = 0; y <= p.height; ++y) {
        double sum = 0, bound = 0, mark = 0;
        for (Index x = 0; x <= p.width; ++x) {
          const auto at = static_cast<std::size_t>(input_index(table, n, y, x, c));
          const bool unchecked = mark > 0 || !(bound < limits<double>().largest / 16);
          expected.values[at] = sum;
          expected.non_finite[at] = mark > 0;
          expected.tolerances[at] =
              unchecked ? kInfinity
                        : limits<double>().rounding * bound * static_cast<double>(y + x + 2);
          if (x == p.width) break;
          const auto column = static_cast<std::size_t>(x);
          sum += sums[column];
          bound += magnitudes[column];
          mark += marks[column];
          if (y == p.height) continue;
          const double value = problem.input[static_cast<std::size_t>(input_index(p, n, y, x, c))];
          sums[column] += finite_or_zero(value);
          magnitudes[column] += magnitude(finite_or_zero(value));
          marks[column] += non_finite(value);
        }
      }
    }
  }
  return expected;
}

}  // namespace fuzz
}  // namespace boxconv
