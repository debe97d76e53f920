// Planes of doubles, and their weighted sums along an axis.
#ifndef BOXCONV_TESTS_FUZZ_PLANE_H_
#define BOXCONV_TESTS_FUZZ_PLANE_H_

#include <algorithm>
#include <cmath>
#include <vector>

#include "axis.h"

namespace boxconv {
namespace fuzz {

struct Plane {
  Index rows = 0, columns = 0;
  std::vector<double> values;

  Plane(Index rows, Index columns)
      : rows(rows), columns(columns), values(static_cast<std::size_t>(rows * columns)) {}
  double* row(Index y) { return values.data() + y * columns; }
  const double* row(Index y) const { return values.data() + y * columns; }
};

template <typename Function>
Plane map(Plane plane, const Function& function) {
  for (double& value : plane.values) value = function(value);
  return plane;
}

inline double sum(const Plane& plane) {
  double total = 0;
  for (double value : plane.values) total += value;
  return total;
}
inline double largest(const Plane& plane) {
  double max = 0;
  for (double value : plane.values) max = std::max(max, value);
  return max;
}

// Row i of the result is the weighted sum of the rows that output i touches.
inline Plane sum_rows(const Axis& axis, const std::vector<double>& weights, const Plane& plane) {
  Plane result(static_cast<Index>(axis.outputs.size()), plane.columns);
  for (Index i = 0; i < result.rows; ++i) {
    const TouchedPixels& t = axis.outputs[static_cast<std::size_t>(i)];
    const double* weight = weights.data() + t.first_weight;
    for (Index y = t.first; y < t.end; ++y, ++weight) {
      for (Index x = 0; x < plane.columns; ++x) result.row(i)[x] += *weight * plane.row(y)[x];
    }
  }
  return result;
}

// The adjoint of sum_rows: adds row i of `plane`, times the weights, to the rows that output i
// touches.
inline Plane spread_rows(const Axis& axis, const std::vector<double>& weights, const Plane& plane) {
  Plane result(axis.pixels, plane.columns);
  for (Index i = 0; i < plane.rows; ++i) {
    const TouchedPixels& t = axis.outputs[static_cast<std::size_t>(i)];
    const double* weight = weights.data() + t.first_weight;
    for (Index y = t.first; y < t.end; ++y, ++weight) {
      for (Index x = 0; x < plane.columns; ++x) result.row(y)[x] += *weight * plane.row(i)[x];
    }
  }
  return result;
}

// sum_rows for columns.
inline Plane sum_columns(const Axis& axis, const std::vector<double>& weights, const Plane& plane) {
  Plane result(plane.rows, static_cast<Index>(axis.outputs.size()));
  for (Index y = 0; y < plane.rows; ++y) {
    for (Index j = 0; j < result.columns; ++j) {
      const TouchedPixels& t = axis.outputs[static_cast<std::size_t>(j)];
      const double* weight = weights.data() + t.first_weight;
      double sum = 0;
      for (Index x = t.first; x < t.end; ++x, ++weight) sum += *weight * plane.row(y)[x];
      result.row(y)[j] = sum;
    }
  }
  return result;
}
// spread_rows for columns.
inline Plane spread_columns(const Axis& axis, const std::vector<double>& weights,
                            const Plane& plane) {
  Plane result(plane.rows, axis.pixels);
  for (Index y = 0; y < plane.rows; ++y) {
    for (Index j = 0; j < plane.columns; ++j) {
      const TouchedPixels& t = axis.outputs[static_cast<std::size_t>(j)];
      const double* weight = weights.data() + t.first_weight;
      const double value = plane.row(y)[j];
      for (Index x = t.first; x < t.end; ++x, ++weight) result.row(y)[x] += *weight * value;
    }
  }
  return result;
}

// Row i of the result is the row that an edge of output i enters when the box grows. `edge` is
// &TouchedPixels::min_pixel or &TouchedPixels::max_pixel. Outside the plane, the row is zero.
inline Plane edge_rows(const Axis& axis, Index TouchedPixels::* edge, const Plane& plane) {
  Plane result(static_cast<Index>(axis.outputs.size()), plane.columns);
  for (Index i = 0; i < result.rows; ++i) {
    const Index y = axis.outputs[static_cast<std::size_t>(i)].*edge;
    if (y >= 0) std::copy_n(plane.row(y), plane.columns, result.row(i));
  }
  return result;
}
// edge_rows for columns.
inline Plane edge_columns(const Axis& axis, Index TouchedPixels::* edge, const Plane& plane) {
  Plane result(plane.rows, static_cast<Index>(axis.outputs.size()));
  for (Index j = 0; j < result.columns; ++j) {
    const Index x = axis.outputs[static_cast<std::size_t>(j)].*edge;
    for (Index y = 0; x >= 0 && y < plane.rows; ++y) result.row(y)[j] = plane.row(y)[x];
  }
  return result;
}

}  // namespace fuzz
}  // namespace boxconv

#endif  // BOXCONV_TESTS_FUZZ_PLANE_H_
