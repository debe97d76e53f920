// The backward kernel: input gradient and the four edge gradients of each box in one visit to a
// plane. The input's own table gives the edge gradients, the upstream gradient's table the input
// gradient.
#ifndef BOXCONV_CORE_BOX_CONV_BACKWARD_H_
#define BOXCONV_CORE_BOX_CONV_BACKWARD_H_

#include "core/box_conv.h"
#include "core/box_scale.h"
#include "core/channel_blocks.h"
#include "core/plane_block.h"
#include "core/summed_area_table.h"

namespace boxconv {
namespace BOXCONV_ISA {

inline double dot(const double* a, const double* b, Index count) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (Index i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

// Rows of scratch that the backward kernel of one plane needs.
struct BackwardRows {
  double *sums, *values, *factors, *left_terms, *right_terms, *weighted;

  static Index size(const BoxConvProblem& p) { return p.width + 1 + 5 * p.out_width(); }

  BackwardRows(const BoxConvProblem& p, double* memory) {
    const Index out_width = p.out_width();
    sums = memory;
    values = sums + p.width + 1;
    factors = values + out_width;
    left_terms = factors + out_width;
    right_terms = left_terms + out_width;
    weighted = right_terms + out_width;
  }

  void set_column_scales(const BoxConvProblem& p, const BoxEdges& box) const {
    for (Index x = 0; x < p.out_width(); ++x) {
      const AxisScale scale =
          axis_scale(p.normalization, box.left, box.right, box.width, x * p.stride_x, p.width);
      factors[x] = scale.factor;
      left_terms[x] = scale.low_term;
      right_terms[x] = scale.high_term;
    }
  }

  // values[x] becomes the sum between the box's columns, for `sums` over columns < j.
  void set_values(const BoxConvProblem& p, const BoxEdges& box) const {
    double* target = values;
    for (Index x = 0; x < p.out_width(); ++x) target[x] = 0;
    columns_between(sums, p.width, box.left, box.right, p.stride_x, p.out_width(),
                    [target](Index x, double sum) { target[x] = sum; });
  }
};

// sum over x of weight[x] * (the plane's column that an edge enters, between the box's rows)
inline double column_edge_sum(const BoxConvProblem& p, const double* sums, Index offset,
                              const double* weight) {
  const InsideRange range = inside_range(offset, p.stride_x, p.width, p.out_width());
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (Index x = range.begin; x < range.end; ++x) {
    const Index cell = x * p.stride_x + offset;
    sum += weight[x] * (sums[cell + 1] - sums[cell]);
  }
  return sum;
}

// sum over x of weight[x] * (row `y` of the plane between the box's columns); 0 for no such row
inline double row_edge_sum(const BoxConvProblem& p, const double* table, const BoxEdges& box,
                           Index y, const double* weight, const BackwardRows& rows) {
  if (!inside(y, p.height)) return 0;
  one_row(table, p.width, y, rows.sums);
  rows.set_values(p, box);
  return dot(weight, rows.values, p.out_width());
}

// Adds one row of outputs to the edge gradients (y_min, x_min, y_max, x_max). `weight` is the
// upstream gradient times the normalization's factor.
inline void add_edge_gradients(const BoxConvProblem& p, const double* table, const BoxEdges& box,
                               Index center, AxisScale row_scale, const double* weight,
                               const BackwardRows& rows, double* gradient) {
  const Index out_width = p.out_width();
  if (rows_between(table, p.height, p.width, box.top, box.bottom, center, rows.sums)) {
    gradient[1] -= column_edge_sum(p, rows.sums, outward_offset_of_min(box.left), weight);
    gradient[3] += column_edge_sum(p, rows.sums, outward_offset_of_max(box.right), weight);
    if (p.normalization != Normalization::kNone) {
      rows.set_values(p, box);
      for (Index x = 0; x < out_width; ++x) rows.values[x] *= weight[x];
      double total = 0;
#pragma omp simd reduction(+ : total)
      for (Index x = 0; x < out_width; ++x) total += rows.values[x];
      gradient[0] += row_scale.low_term * total;
      gradient[1] += dot(rows.values, rows.left_terms, out_width);
      gradient[2] -= row_scale.high_term * total;
      gradient[3] -= dot(rows.values, rows.right_terms, out_width);
    }
  }
  gradient[0] -= row_edge_sum(p, table, box, center + outward_offset_of_min(box.top), weight, rows);
  gradient[2] +=
      row_edge_sum(p, table, box, center + outward_offset_of_max(box.bottom), weight, rows);
}

// Edge gradients of one box on one plane, and `spread`: the upstream gradient divided by each
// output's own normalization, put at the outputs' pixels of a plane of the input's size.
template <typename V>
void edge_gradients(const BoxConvProblem& p, const double* table, const BoxEdges& box,
                    const V* out_grad, const BackwardRows& rows, double* spread, double* gradient) {
  const Index out_width = p.out_width();
  for (Index i = 0; i < p.height * p.width; ++i) spread[i] = 0;
  for (int edge = 0; edge < 4; ++edge) gradient[edge] = 0;
  rows.set_column_scales(p, box);
  for (Index y = 0; y < p.out_height(); ++y) {
    const Index center = y * p.stride_y;
    const AxisScale row_scale =
        axis_scale(p.normalization, box.top, box.bottom, box.height, center, p.height);
    for (Index x = 0; x < out_width; ++x) {
      rows.weighted[x] = out_grad[y * out_width + x] * (row_scale.factor * rows.factors[x]);
      spread[center * p.width + x * p.stride_x] = rows.weighted[x];
    }
    add_edge_gradients(p, table, box, center, row_scale, rows.weighted, rows, gradient);
  }
}

// Adds to `input_grad` the sums of `spread` in the mirrored box.
inline void add_input_gradient(const BoxConvProblem& p, const double* spread_table,
                               const BoxEdges& box, double* sums, double* input_grad) {
  const BoxEdges mirror = mirrored(box);
  for (Index y = 0; y < p.height; ++y) {
    if (!rows_between(spread_table, p.height, p.width, mirror.top, mirror.bottom, y, sums))
      continue;
    double* row = input_grad + y * p.width;
    columns_between(sums, p.width, mirror.left, mirror.right, 1, p.width,
                    [row](Index x, double sum) { row[x] += sum; });
  }
}

// Computes units [begin, end) of ChannelBlocks(problem): their part of input_grad, and the edge
// gradients of each image by itself in image_boxes_grad [batch, channels, boxes_per_channel, 4].
// Returns false when memory ran out.
template <typename T, typename TBox>
bool backward_units(const BoxConvProblem& p, const T* input, const TBox* boxes,
                    const T* output_grad, T* input_grad, double* image_boxes_grad, Index begin,
                    Index end) {
  using V = typename PlaneType<T>::type;
  const ChannelBlocks blocks(p, sizeof(V));
  const ImageShape in{p.height * p.width, p.channels, p.layout};
  const ImageShape out{p.out_height() * p.out_width(), p.out_channels(), p.layout};
  const Index m_count = p.boxes_per_channel, in_stride = padded_plane(in.pixels);
  Scratch<V> planes(blocks.size * in_stride);
  Scratch<V> out_grads(blocks.size * m_count * padded_plane(out.pixels));
  Scratch<double> in_grads(blocks.size * in_stride);
  Scratch<double> table(table_size(p.height, p.width)), spread(in.pixels);
  Scratch<double> spread_table(table_size(p.height, p.width)), row_memory(BackwardRows::size(p));
  if (!planes.data() || !out_grads.data() || !in_grads.data() || !table.data() || !spread.data() ||
      !spread_table.data() || !row_memory.data()) {
    return false;
  }
  const BackwardRows rows(p, row_memory.data());

  for (Index unit = begin; unit < end; ++unit) {
    const ChannelBlock block = blocks.at(unit);
    load_planes(in, input + block.image * in.pixels * in.channels, block.first, block.count,
                planes.data());
    load_planes(out, output_grad + block.image * out.pixels * out.channels, block.first * m_count,
                block.count * m_count, out_grads.data());
    for (Index i = 0; i < block.count * in_stride; ++i) in_grads.data()[i] = 0;
    for (Index c = 0; c < block.count; ++c) {
      build_table(planes.data() + c * in_stride, p.height, p.width, table.data());
      for (Index m = 0; m < m_count; ++m) {
        const Index index = (block.first + c) * m_count + m;
        double* gradient = image_boxes_grad + (block.image * out.channels + index) * 4;
        const BoxEdges box = box_edges(boxes + index * 4);
        if (box.empty) {
          for (int edge = 0; edge < 4; ++edge) gradient[edge] = 0;
          continue;
        }
        edge_gradients(p, table.data(), box,
                       out_grads.data() + (c * m_count + m) * padded_plane(out.pixels), rows,
                       spread.data(), gradient);
        build_table(spread.data(), p.height, p.width, spread_table.data());
        add_input_gradient(p, spread_table.data(), box, rows.sums, in_grads.data() + c * in_stride);
      }
    }
    store_planes(in, in_grads.data(), block.first, block.count,
                 input_grad + block.image * in.pixels * in.channels);
  }
  return true;
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_BOX_CONV_BACKWARD_H_
