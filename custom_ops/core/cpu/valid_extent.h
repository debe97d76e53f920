// The normalization "valid": the factors of the outputs, and the derivative of the factors.
//
// Let S be the plain sum over the box at an output, g the output gradient and f the factor of the
// output, a row factor times a column factor (box_extent.h). The response is f * S. If a min edge
// moves outward, f shrinks by f * min_growth, so
//
//   d loss / d y_min += sum over the rows of    min_growth(row) * row_total(row)
//   row_total(row)    = sum over the columns of S * f * g
//
// The max edges have the opposite sign. The column edges need the totals of the columns.
#ifndef BOXCONV_CORE_CPU_VALID_EXTENT_H_
#define BOXCONV_CORE_CPU_VALID_EXTENT_H_

#include "core/base/problem.h"
#include "core/cpu/plane_windows.h"
#include "core/cpu/simd.h"
#include "core/cpu/sliding_window.h"
#include "core/cpu/tiling.h"
#include "core/geometry/box_extent.h"

namespace boxconv {
namespace BOXCONV_ISA {

// The factors of normalization "valid" along one axis of `size` pixels. If the box lies inside the
// image, the factor is the same at every output. It is computed once, because divisions are slow.
class ValidFactors {
 public:
  BOXCONV_INLINE ValidFactors(EdgeShift min, EdgeShift max, double side, Index size)
      : min_(min),
        max_(max),
        side_(side),
        size_(size),
        inner_begin_(-outward_offset_of_min(min)),
        inner_end_(size - outward_offset_of_max(max)),
        inner_(inner_begin_ < inner_end_ ? compute(inner_begin_) : AxisFactor{0, 0, 0}) {}

  BOXCONV_INLINE AxisFactor at(Index center) const {
    return center >= inner_begin_ && center < inner_end_ ? inner_ : compute(center);
  }

 private:
  BOXCONV_INLINE AxisFactor compute(Index center) const {
    return axis_factor(Normalization::kValid, min_, max_, side_, center, size_);
  }

  const EdgeShift min_, max_;
  const double side_;
  const Index size_;
  // At the outputs in [inner_begin_, inner_end_), both edges and the pixels that they enter lie
  // inside the image.
  const Index inner_begin_, inner_end_;
  const AxisFactor inner_;
};

BOXCONV_INLINE ValidFactors valid_row_factors(const BoxConvProblem& p, const BoxEdges& box) {
  return ValidFactors(box.top, box.bottom, box.height, p.height);
}
BOXCONV_INLINE ValidFactors valid_column_factors(const BoxConvProblem& p, const BoxEdges& box) {
  return ValidFactors(box.left, box.right, box.width, p.width);
}

// Multiplies outputs by their factors of normalization "valid": values[y * row_stride + x] is the
// output at row rows.first + y and column columns.first + x. Output (i, j) lies at row i * stride_y
// and column j * stride_x of the input. `factors` is scratch memory for padded_width(columns.count)
// values. Values in the padding of the rows are multiplied by zero.
template <typename V>
void apply_valid_factors(const BoxConvProblem& p, const BoxEdges& box, Span rows, Span columns,
                         Index stride_y, Index stride_x, V* factors, V* values, Index row_stride) {
  const ValidFactors of_rows = valid_row_factors(p, box);
  const ValidFactors of_columns = valid_column_factors(p, box);
  const Index width = padded_width(columns.count);
  for (Index x = 0; x < columns.count; ++x) {
    factors[x] = bounded_factor<V>(of_columns.at((columns.first + x) * stride_x).factor);
  }
  clear(factors + columns.count, width - columns.count);
  for (Index y = 0; y < rows.count; ++y) {
    const V factor = bounded_factor<V>(of_rows.at((rows.first + y) * stride_y).factor);
    V* row = values + y * row_stride;
    for (Index x = 0; x < width; x += kLanes<V>) {
      store_vector<V>(load_vector(row + x) * (factor * load_vector(factors + x)), row + x);
    }
  }
}

// The totals of the rows and of the columns of S * f * g (see above), for a plane that is given in
// groups of rows (plane_windows.h). Scratch memory: `lanes` for columns * kLanes<V> values,
// `row_totals` for a value per row, `column_totals` for a value per column.
template <typename V>
class ProductTotals {
 public:
  ProductTotals(V* lanes, double* row_totals, double* column_totals)
      : lanes_(lanes), row_totals_(row_totals), column_totals_(column_totals) {}

  // Prepares for a plane with this many columns.
  void start(Index columns) {
    columns_ = columns;
    row_ = groups_ = 0;
    clear(lanes_, columns * kLanes<V>);
    clear(column_totals_, columns);
  }

  // Adds the product of the next group of one plane and that of the other. A group has `lines`
  // lines, of which the first `rows` hold rows of the plane.
  void add_group(const V* a, const V* b, Index lines, Index rows) {
    for (Index line = 0; line < lines; line += kLanes<V>) {
      add_lines(a + line, b + line, lines, min_index(rows - line, kLanes<V>));
    }
    if (++groups_ == kChain / 2) add_lanes();  // up to two additions a group
  }

  void finish() { add_lanes(); }

 private:
  // Adds one vector of lines, of which `rows` have rows.
  void add_lines(const V* a, const V* b, Index stride, Index rows) {
    // A multiplication by zero would turn the infinities of repeated rows into NaNs.
    auto has_row = Vector<V>{} != Vector<V>{};
    for (Index i = 0; i < rows; ++i) has_row[i] = -1;
    double totals[kLanes<V>] = {};
    for (Index x = 0; x < columns_;) {
      Vector<V> chain = {};
      for (const Index stop = min_index(x + kChain, columns_); x < stop; ++x) {
        const Vector<V> product = load_vector(a + x * stride) * load_vector(b + x * stride);
        chain += product;
        V* lanes = lanes_ + x * kLanes<V>;
        store_vector<V>(load_vector(lanes) + (has_row ? product : Vector<V>{}), lanes);
      }
      for (int i = 0; i < kLanes<V>; ++i) totals[i] += chain[i];
    }
    for (Index i = 0; i < rows; ++i) row_totals_[row_++] = totals[i];
  }

  // Adds the lanes of each column to the column's total.
  void add_lanes() {
    for (Index x = 0; x < columns_; ++x) {
      V* lanes = lanes_ + x * kLanes<V>;
      V sum = 0;
      for (int i = 0; i < kLanes<V>; ++i) {
        sum += lanes[i];
        lanes[i] = 0;
      }
      column_totals_[x] += sum;
    }
    groups_ = 0;
  }

  V* const lanes_;
  double *const row_totals_, *const column_totals_;
  Index columns_ = 0, row_ = 0, groups_ = 0;
};

// Adds the derivative of the factors along one axis to the gradients of a min and a max edge.
// totals[i] is the total of row or column outputs.first + i, at the resolution of the input.
inline void add_axis_gradients(const ValidFactors& factors, Span outputs, const double* totals,
                               double* min_grad, double* max_grad) {
  double min_sum = 0, max_sum = 0;
  for (Index i = 0; i < outputs.count; ++i) {
    const AxisFactor factor = factors.at(outputs.first + i);
    min_sum += totals[i] * factor.min_growth;
    max_sum += totals[i] * factor.max_growth;
  }
  *min_grad += min_sum;
  *max_grad -= max_sum;
}

// Adds the derivative of the factors to the four edge gradients of a box. The rows and columns are
// outputs at the resolution of the input.
inline void add_valid_extent_gradients(const BoxConvProblem& p, const BoxEdges& box, Span rows,
                                       const double* row_totals, Span columns,
                                       const double* column_totals, double* boxes_grad) {
  add_axis_gradients(valid_row_factors(p, box), rows, row_totals, boxes_grad, boxes_grad + 2);
  add_axis_gradients(valid_column_factors(p, box), columns, column_totals, boxes_grad + 1,
                     boxes_grad + 3);
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_VALID_EXTENT_H_
