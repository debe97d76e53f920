// The backward kernel: input gradient and the four edge gradients of each box in one visit to a
// block of channels of a tile of an image.
//
// The input gradient is the sum of the upstream gradient in the mirrored box, taken first along the
// rows and then down the columns. The edge gradients are scalar products on the way, with x the
// input:
//   - the upstream gradient summed along the rows, times x where an upper or lower edge lies: those
//     of y_min and y_max,
//   - the upstream gradient summed down the columns, times x where a left or right edge lies: those
//     of x_min and x_max,
//   - the input gradient times x, which is the output times the upstream gradient: what growing any
//     edge loses to normalization.
#ifndef BOXCONV_CORE_BOX_CONV_BACKWARD_H_
#define BOXCONV_CORE_BOX_CONV_BACKWARD_H_

#include "core/box_conv.h"
#include "core/box_conv_forward.h"
#include "core/box_reach.h"
#include "core/box_scale.h"
#include "core/pixel_rows.h"
#include "core/plane_windows.h"
#include "core/scratch.h"
#include "core/work_units.h"

namespace boxconv {
namespace BOXCONV_ISA {

// How many rows of `width` values a scalar product takes before its chains of additions grow long.
template <typename V>
Index dot_rows(Index width) {
  return larger(1, kChain / (width / (4 * kLanes<V>)+1));
}

// The scalar product of a few rows of two planes, `step` apart in both. Four vectors hide the
// latency of each other's additions.
template <typename V>
double dot(const V* a, const V* b, Index step, Index rows, Index width) {
  constexpr Index n = kLanes<V>;
  Vector<V> sums[4] = {};
  V rest = 0;
  for (Index y = 0; y < rows; ++y) {
    const V *u = a + y * step, *v = b + y * step;
    Index x = 0;
    for (; x + 4 * n <= width; x += 4 * n) {
      for (int i = 0; i < 4; ++i)
        sums[i] += load_vector(u + x + i * n) * load_vector(v + x + i * n);
    }
    for (; x + n <= width; x += n) sums[0] += load_vector(u + x) * load_vector(v + x);
    for (; x < width; ++x) rest += u[x] * v[x];
  }
  const Vector<V> sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  double total = rest;
  for (int i = 0; i < n; ++i) total += sum[i];
  return total;
}

template <typename V>
void add_plane(const V* from, Index values, V* to) {
  for (Index i = 0; i < values; ++i) to[i] += from[i];
}

// Moves values apart: values[offset + i * stride] = values[i] for i < count, zero elsewhere.
template <typename V>
void spread(V* values, Index count, Index offset, Index stride, Index width) {
  for (Index i = count; i-- > 0;) {
    const V value = values[i];
    values[i] = 0;
    values[offset + i * stride] = value;
  }
  for (Index x = count; x < width; ++x) {
    if (x < offset || (x - offset) % stride != 0) values[x] = 0;
  }
}

template <typename T, typename TBox>
class BackwardKernel {
 public:
  using V = typename PlaneType<T>::type;

  BackwardKernel(const BoxConvProblem& p, const TBox* boxes, const WorkUnits& units)
      : p_(p), boxes_(boxes), row_step_(apart(padded_width(units.columns().source_length()))) {
    const Index source_rows = rounded_up(units.rows().source_length(), kGroupRows<V>);
    const Index source_columns = units.columns().source_length();
    plane_step_ = apart(units.rows().length() * row_step_);
    source_step_ = apart(source_rows * row_step_);
    const auto inputs_piece = memory_.claim<V>(units.block() * plane_step_);
    const auto result_piece = memory_.claim<V>(p.boxes_per_channel > 1 ? plane_step_ : 0);
    const auto gradients_piece =
        memory_.claim<V>(units.block() * p.boxes_per_channel * source_step_);
    const auto row_sums_piece = memory_.claim<V>(source_step_);
    const auto sums_piece = memory_.claim<V>(plane_step_);
    const auto strip_piece = memory_.claim<V>(2 * kGroupRows<V> * row_step_);
    const auto suffix_piece =
        memory_.claim<V>(PlaneWindows<V>::suffix_size(larger(source_rows, source_columns)));
    const auto factors_piece = memory_.claim<V>(source_columns);
    ok_ = memory_.allocate();
    if (!ok_) return;
    inputs_ = memory_.data(inputs_piece);
    result_ = memory_.data(result_piece);
    gradients_ = memory_.data(gradients_piece);
    row_sums_ = memory_.data(row_sums_piece);
    sums_ = memory_.data(sums_piece);
    strip_ = memory_.data(strip_piece);
    slid_ = strip_ + kGroupRows<V> * row_step_;
    suffix_ = memory_.data(suffix_piece);
    factors_ = memory_.data(factors_piece);
  }

  bool ok() const { return ok_; }

  // Input gradient of a unit, and its part of the edge gradients of its boxes, which it adds. Asks
  // for some memory meanwhile.
  void run(const WorkUnit& unit, const T* image, const T* image_output_grad,
           const PrefetchQueue& wanted, T* image_grad, double* boxes_grad) const {
    prefetcher_ = Prefetcher();
    const ImageShape shape{p_.height, p_.width, p_.channels, p_.layout};
    load_planes(shape, image, unit.rows, unit.columns, unit.channels, inputs_, row_step_,
                plane_step_);
    load_gradients(unit, image_output_grad);
    for (Index c = 0; c < unit.channels.count; ++c) {
      if (const auto* next = wanted.begins_at(c, unit.channels.count)) prefetcher_ = *next;
      bool first = true;
      for (Index m = 0; m < p_.boxes_per_channel; ++m) {
        const Index i = c * p_.boxes_per_channel + m;
        const Index box_index = unit.channels.first * p_.boxes_per_channel + i;
        const BoxEdges box = box_edges(boxes_ + box_index * 4);
        if (box.empty) continue;
        add_box(unit, box, c, gradients_ + i * source_step_, first, boxes_grad + i * 4);
        first = false;
      }
      if (first) clear(result_of(c), unit.rows.count * row_step_);
    }
    for (Index y = 0; y < unit.rows.count; ++y) {
      store_row(shape, result_of(0) + y * row_step_, result_of(1) - result_of(0),
                unit.rows.first + y, unit.columns, unit.channels, image_grad);
    }
  }

 private:
  // The input gradient of channel c takes the place of the upstream gradient of its first box.
  V* result_of(Index c) const { return gradients_ + c * p_.boxes_per_channel * source_step_; }

  // The upstream gradient's planes, at the pixels of the input.
  void load_gradients(const WorkUnit& unit, const T* image_output_grad) const {
    const ImageShape shape{p_.out_height(), p_.out_width(), p_.out_channels(), p_.layout};
    const Span channels = out_channels(p_, unit);
    const Span& x = unit.source_columns;
    const Index first = (x.first + p_.stride_x - 1) / p_.stride_x;
    const Index end = (x.first + x.count + p_.stride_x - 1) / p_.stride_x;
    const Index width = padded_width(x.count);
    for (Index row = 0; row < unit.source_rows.count; ++row) {
      V* rows = gradients_ + row * row_step_;
      const Index y = unit.source_rows.first + row;
      if (y % p_.stride_y != 0) {
        for (Index i = 0; i < channels.count; ++i) clear(rows + i * source_step_, width);
        continue;
      }
      load_row(shape, image_output_grad, y / p_.stride_y, {first, end - first}, channels, rows,
               source_step_);
      for (Index i = 0; i < channels.count; ++i) {
        V* values = rows + i * source_step_;
        if (p_.stride_x > 1) {
          spread(values, end - first, first * p_.stride_x - x.first, p_.stride_x, x.count);
        }
        clear(values + x.count, width - x.count);
      }
    }
  }

  // One box's part of channel c's input gradient, which it adds unless it is the first, and of the
  // box's edge gradients.
  void add_box(const WorkUnit& unit, const BoxEdges& box, Index c, V* gradients, bool first,
               double* boxes_grad) const {
    const BoxEdges mirror = backward_box(box);
    const double scale = constant_scale<V>(p_, box);
    if (p_.normalization == Normalization::kValid) {
      // The upstream gradient lies at the pixels of the input.
      apply_valid_factors(p_, box, unit.source_rows, unit.source_columns, {1, 1}, factors_,
                          gradients, row_step_);
    }
    sum_along_rows(unit, mirror, scale, gradients);

    const PlaneWindows<V> windows(suffix_);
    const Index y = unit.rows.first - unit.source_rows.first;
    const auto down = sliding_window<V>(shifted(mirror.top, y), shifted(mirror.bottom, y), 1.0,
                                        larger(unit.source_rows.count, unit.rows.count));
    windows.down(down, gradients, row_step_, unit.source_rows.count,
                 padded_width(unit.source_columns.count), sums_, unit.rows.count, &prefetcher_);
    V* result = first ? result_of(c) : result_;
    windows.down(down, row_sums_, row_step_, unit.source_rows.count,
                 padded_width(unit.columns.count), result, unit.rows.count, &prefetcher_);
    add_edge_gradients(unit, box, mirror, scale, inputs_ + c * plane_step_, result, boxes_grad);
    if (!first) add_plane(result, unit.rows.count * row_step_, result_of(c));
  }

  // row_sums_ becomes the sums of the upstream gradient along the rows, times `scale`.
  void sum_along_rows(const WorkUnit& unit, const BoxEdges& mirror, double scale,
                      const V* gradients) const {
    const PlaneWindows<V> windows(suffix_);
    const Index rows = unit.source_rows.count, columns = unit.columns.count;
    const Index x = unit.columns.first - unit.source_columns.first;
    const auto along = sliding_window<V>(shifted(mirror.left, x), shifted(mirror.right, x), scale,
                                         larger(unit.source_columns.count, columns));
    for (Index row = 0; row < rows; row += kGroupRows<V>) {
      const Index lines = group_lines<V>(row, rows);
      rows_to_strip(gradients + row * row_step_, row_step_, rows - row,
                    padded_width(unit.source_columns.count), strip_, lines);
      windows.along(along, strip_, lines, unit.source_columns.count, slid_, columns, &prefetcher_);
      clear(slid_ + columns * lines, (padded_width(columns) - columns) * lines);
      strip_to_rows(slid_, lines, padded_width(columns), row_sums_ + row * row_step_, row_step_,
                    lines);
    }
  }

  // Scalar products of the input with row_sums_, sums_ and the box's part of the input gradient, a
  // few rows at a time so that those of the input stay in the first-level cache.
  void add_edge_gradients(const WorkUnit& unit, const BoxEdges& box, const BoxEdges& mirror,
                          double scale, const V* input, const V* result, double* boxes_grad) const {
    double responses = 0, y_min = 0, x_min = 0, y_max = 0, x_max = 0;
    const Index at_once = dot_rows<V>(unit.columns.count);
    for (Index row = 0; row < unit.rows.count; row += at_once) {
      const Span rows{row, smaller(at_once, unit.rows.count - row)};
      responses += dot(result + row * row_step_, input + row * row_step_, row_step_, rows.count,
                       unit.columns.count);
      // The mirrored box's lower edge is the box's upper one, and its right edge the left one.
      y_min += row_edge_sum(unit, rows, mirror.bottom, input);
      y_max += row_edge_sum(unit, rows, mirror.top, input);
      x_min += column_edge_sum(unit, rows, mirror.right, input);
      x_max += column_edge_sum(unit, rows, mirror.left, input);
    }
    const bool area = p_.normalization == Normalization::kArea;
    const double by_height = area ? responses / box.height : 0;
    const double by_width = area ? responses / box.width : 0;
    boxes_grad[0] += by_height - y_min;  // sums along the rows carry the scale already
    boxes_grad[1] += by_width - x_min * scale;
    boxes_grad[2] += y_max - by_height;
    boxes_grad[3] += x_max * scale - by_width;
  }

  // Sum over some of the unit's rows of the input times the row sums where `edge` lies from there.
  double row_edge_sum(const WorkUnit& unit, Span rows, EdgeShift edge, const V* input) const {
    const Index shift = unit.rows.first + edge.offset;  // of the unit's first row
    const Index begin = clamp_index(-shift, rows.first, rows.first + rows.count);
    const Index end = clamp_index(p_.height - shift, begin, rows.first + rows.count);
    if (begin == end) return 0;
    return dot(row_sums_ + (begin + shift - unit.source_rows.first) * row_step_,
               input + begin * row_step_, row_step_, end - begin, unit.columns.count);
  }

  // The same of the input times the column sums.
  double column_edge_sum(const WorkUnit& unit, Span rows, EdgeShift edge, const V* input) const {
    const Index shift = unit.columns.first + edge.offset;  // of the unit's first column
    const Index begin = clamp_index(-shift, 0, unit.columns.count);
    const Index end = clamp_index(p_.width - shift, begin, unit.columns.count);
    if (begin == end) return 0;
    const Index row = rows.first * row_step_;
    return dot(sums_ + row + (begin + shift - unit.source_columns.first), input + row + begin,
               row_step_, rows.count, end - begin);
  }

  const BoxConvProblem& p_;
  const TBox* boxes_;
  const Index row_step_;
  Index plane_step_, source_step_;
  Scratch memory_;
  bool ok_;
  mutable Prefetcher prefetcher_;
  // Planes of the block: input, upstream gradient. Of one box: the upstream gradient summed along
  // the rows, sums down the columns, its part of the input gradient unless it is the first.
  V *inputs_, *gradients_, *row_sums_, *sums_, *result_, *strip_, *slid_, *suffix_, *factors_;
};

// With "valid", what an output loses as an edge grows differs from output to output, so that the
// responses themselves are needed: adds what they lose to the edge gradients of a unit's boxes. The
// unit is one of the forward kernel's.
template <typename T, typename TBox>
void add_valid_extent_gradients(const BoxConvProblem& p, const ForwardKernel<T, TBox>& kernel,
                                const WorkUnit& unit, const T* image_output_grad,
                                double* boxes_grad) {
  const ImageShape out{p.out_height(), p.out_width(), p.out_channels(), p.layout};
  const Span channels = out_channels(p, unit);
  for (Index i = 0; i < channels.count; ++i) {
    const BoxEdges box = kernel.box(unit, i);
    if (box.empty) continue;
    double* gradient = boxes_grad + 4 * i;
    for (Index row = 0; row < unit.rows.count; ++row) {
      const Index y = unit.rows.first + row;
      const T* grads = image_output_grad + out.offset(y, unit.columns.first, channels.first + i);
      const AxisScale by_row =
          axis_scale(p.normalization, box.top, box.bottom, box.height, y * p.stride_y, p.height);
      for (Index column = 0; column < unit.columns.count; ++column) {
        const Index x = (unit.columns.first + column) * p.stride_x;
        const AxisScale by_column =
            axis_scale(p.normalization, box.left, box.right, box.width, x, p.width);
        const double loss = static_cast<double>(load(grads[column * out.pixel_step()])) *
                            kernel.response(unit, i, row, column);
        gradient[0] += loss * by_row.low_term;
        gradient[1] += loss * by_column.low_term;
        gradient[2] -= loss * by_row.high_term;
        gradient[3] -= loss * by_column.high_term;
      }
    }
  }
}

// Where a unit adds its part of the edge gradients: each image's and tile's lie by themselves in
// parts [batch * tiles, channels, boxes_per_channel, 4].
inline double* part_of(const BoxConvProblem& p, const WorkUnits& units, const WorkUnit& unit,
                       double* parts) {
  const Index part = unit.image * units.tiles() + unit.tile;
  return parts + (part * p.channels + unit.channels.first) * p.boxes_per_channel * 4;
}

// Computes units [begin, end): their part of input_grad, and of the edge gradients in parts, which
// come filled with zeros. Returns false when memory ran out.
template <typename T, typename TBox>
bool backward_units(const BoxConvProblem& p, const T* input, const TBox* boxes, const UnitCut& cut,
                    const T* output_grad, T* input_grad, double* parts, Index begin, Index end) {
  const WorkUnits units = backward_work(p, cut);
  const BackwardKernel<T, TBox> kernel(p, boxes, units);
  if (!kernel.ok()) return false;
  const ImageShape in{p.height, p.width, p.channels, p.layout};
  const ImageShape out{p.out_height(), p.out_width(), p.out_channels(), p.layout};
  for (Index i = begin; i < end; ++i) {
    const WorkUnit unit = units.at(i), next = units.at(smaller(i + 1, end - 1));
    T* result = input_grad + unit.image * in.size();
    // As in the forward kernel, but the next block has two inputs.
    PrefetchQueue wanted;
    if (begins_line<T>(unit.channels)) {
      wanted.add(pixel_prefetcher(in, result, unit.rows, unit.columns, unit.channels));
    }
    if (ends_line<T>(unit.channels, p.channels)) {
      wanted.add(pixel_prefetcher(
          out, output_grad + next.image * out.size(),
          {next.source_rows.first / p.stride_y, next.source_rows.count / p.stride_y},
          {0, out.width}, out_channels(p, next)));
      wanted.add(pixel_prefetcher(in, input + next.image * in.size(), next.rows, next.columns,
                                  next.channels));
    }
    kernel.run(unit, input + unit.image * in.size(), output_grad + unit.image * out.size(), wanted,
               result, part_of(p, units, unit, parts));
  }
  return true;
}

// The rest of the edge gradients with "valid": units [begin, end) of the forward kernel, and parts
// likewise.
template <typename T, typename TBox>
bool valid_extent_units(const BoxConvProblem& p, const T* input, const TBox* boxes,
                        const UnitCut& cut, const T* output_grad, double* parts, Index begin,
                        Index end) {
  const WorkUnits units = forward_work(p, cut);
  const ForwardKernel<T, TBox> kernel(p, boxes, units);
  if (!kernel.ok()) return false;
  const Index in_size = p.height * p.width * p.channels;
  const Index out_size = p.out_height() * p.out_width() * p.out_channels();
  for (Index i = begin; i < end; ++i) {
    const WorkUnit unit = units.at(i);
    kernel.respond(unit, input + unit.image * in_size, PrefetchQueue());
    add_valid_extent_gradients(p, kernel, unit, output_grad + unit.image * out_size,
                               part_of(p, units, unit, parts));
  }
  return true;
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_BOX_CONV_BACKWARD_H_
