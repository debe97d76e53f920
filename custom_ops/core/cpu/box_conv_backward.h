// The backward pass: the input gradient and the four edge gradients of each box.
//
// Let x be the plane of the input, g the plane of the output gradient and m the mirrored box. Then
//
//   row_sums     = g summed along the rows of m
//   column_sums  = g summed down the columns of m
//   input_grad   = row_sums summed down the columns of m
//
//   d loss / d y_min = - sum of x * row_sums     at the rows of the box's top edge
//   d loss / d y_max = + sum of x * row_sums     at the rows of its bottom edge
//   d loss / d x_min = - sum of x * column_sums  at the columns of its left edge
//   d loss / d x_max = + sum of x * column_sums  at the columns of its right edge
//
// With normalization "area", the growing area also reduces the response. This adds
// + sum(x * input_grad) / side for the min edges and - sum(x * input_grad) / side for the max
// edges, since sum(x * input_grad) = sum(out * g).
//
// With normalization "valid", g is multiplied by the factors of the outputs first. The extent
// differs from output to output, so its derivative needs the sums over the boxes at each output
// (valid_extent.h). A tile adds the part of these sums that its own pixels contribute.
#ifndef BOXCONV_CORE_CPU_BOX_CONV_BACKWARD_H_
#define BOXCONV_CORE_CPU_BOX_CONV_BACKWARD_H_

#include "core/base/problem.h"
#include "core/cpu/box_conv_forward.h"
#include "core/cpu/dot_product.h"
#include "core/cpu/edge_sums.h"
#include "core/cpu/image_rows.h"
#include "core/cpu/plane_windows.h"
#include "core/cpu/scratch.h"
#include "core/cpu/tiling.h"
#include "core/cpu/valid_extent.h"
#include "core/geometry/box_extent.h"

namespace boxconv {
namespace BOXCONV_ISA {

template <typename V>
void add_plane(const V* addend, Index count, V* sum) {
  for (Index i = 0; i < count; ++i) sum[i] += addend[i];
}

// Moves values[i], i < count, to values[offset + i * stride], and sets the rest of the `width`
// values to zero.
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

// Loads row `y` of the output gradient at the resolution of the input, zero between outputs: sets
// planes[i * plane_stride + x] to the gradient at column columns.first + x of the input, channel
// channels.first + i of the output.
template <typename T, typename V>
void load_output_grad_row(const BoxConvProblem& p, const T* image_output_grad, Index y,
                          Span columns, Span channels, V* planes, Index plane_stride) {
  const Index width = padded_width(columns.count);
  if (y % p.stride_y != 0) {
    for (Index i = 0; i < channels.count; ++i) clear(planes + i * plane_stride, width);
    return;
  }
  const Index first = (columns.first + p.stride_x - 1) / p.stride_x;
  const Index end = (columns.first + columns.count + p.stride_x - 1) / p.stride_x;
  load_row(output_shape(p), image_output_grad, y / p.stride_y, {first, end - first}, channels,
           planes, plane_stride);
  for (Index i = 0; i < channels.count; ++i) {
    V* const values = planes + i * plane_stride;
    if (p.stride_x > 1) {
      spread(values, end - first, first * p.stride_x - columns.first, p.stride_x, columns.count);
    }
    clear(values + columns.count, width - columns.count);
  }
}

template <typename T, typename TBox>
class BackwardKernel {
 public:
  using V = typename PlaneType<T>::type;

  // Allocates scratch memory for any tile of `tiling`; without planes of output gradients if run()
  // will be given them. Check ok() before anything else.
  BackwardKernel(const BoxConvProblem& p, const TBox* boxes, const Tiling& tiling,
                 bool loads_output_grads = true)
      : p_(p),
        boxes_(boxes),
        row_stride_(padded_stride(padded_width(tiling.columns().source_length()))) {
    const Index source_rows = round_up(tiling.rows().source_length(), kGroupRows<V>);
    const Index source_columns = tiling.columns().source_length();
    const Index channels = tiling.channels_per_tile();
    plane_stride_ = padded_stride(tiling.rows().length() * row_stride_);
    source_stride_ = padded_stride(source_rows * row_stride_);
    ok_ = scratch_.allocate([&] {
      inputs_ = scratch_.array<V>(channels * plane_stride_);
      box_input_grad_ = scratch_.array<V>(p.boxes_per_channel > 1 ? plane_stride_ : 0);
      const Index boxes = loads_output_grads ? channels * p.boxes_per_channel : 0;
      loaded_output_grads_ = scratch_.array<V>(boxes * source_stride_);
      row_sums_ = scratch_.array<V>(source_stride_);
      column_sums_ = scratch_.array<V>(plane_stride_);
      row_group_ = scratch_.array<V>(kGroupRows<V> * row_stride_);
      row_group_sums_ = scratch_.array<V>(kGroupRows<V> * row_stride_);
      suffix_sums_ =
          scratch_.array<V>(PlaneWindows<V>::suffix_size(max_index(source_rows, source_columns)));
      const bool valid = p.normalization == Normalization::kValid;
      factors_ = scratch_.array<V>(valid ? padded_width(source_columns) : 0);
      response_group_ = scratch_.array<V>(valid ? kGroupRows<V> * row_stride_ : 0);
      column_lanes_ = scratch_.array<V>(valid ? source_columns * kLanes<V> : 0);
      row_totals_ = scratch_.array<double>(valid ? source_rows : 0);
      column_totals_ = scratch_.array<double>(valid ? source_columns : 0);
    });
  }

  bool ok() const { return ok_; }

  // Computes the input gradient of a tile and adds the tile's contribution to the gradients of its
  // boxes.
  void run(const Tile& tile, const T* image, const T* image_output_grad,
           const PrefetchQueue& prefetchers, T* image_input_grad, double* boxes_grad) const {
    load_output_grads(tile, image_output_grad);
    run(tile, image, loaded_output_grads_, source_stride_, prefetchers, image_input_grad,
        boxes_grad);
  }

  // The same, given the planes of the tile's output gradients, `stride` values apart. They are
  // overwritten. Their rows are padded like those of load_planes(), and as far apart.
  void run(const Tile& tile, const T* image, V* output_grads, Index stride,
           const PrefetchQueue& prefetchers, T* image_input_grad, double* boxes_grad) const {
    prefetcher_ = Prefetcher();
    output_grads_ = output_grads;
    output_grad_stride_ = stride;
    load_planes(input_shape(p_), image, tile.rows, tile.columns, tile.channels, inputs_,
                row_stride_, plane_stride_);
    for (Index c = 0; c < tile.channels.count; ++c) {
      prefetchers.start(c, tile.channels.count, &prefetcher_);
      Index boxes_added = 0;
      for (Index m = 0; m < p_.boxes_per_channel; ++m) {
        const Index i = c * p_.boxes_per_channel + m;
        const BoxEdges box = box_edges(boxes_ + (out_channels(p_, tile).first + i) * 4);
        if (box.empty) continue;
        add_box(tile, box, c, output_grads_ + i * output_grad_stride_, boxes_added == 0,
                boxes_grad + i * 4);
        ++boxes_added;
      }
      if (boxes_added == 0) clear(input_grad(c), tile.rows.count * row_stride_);
    }
    for (Index y = 0; y < tile.rows.count; ++y) {
      store_row(input_shape(p_), input_grad(0) + y * row_stride_, input_grad(1) - input_grad(0),
                tile.rows.first + y, tile.columns, tile.channels, image_input_grad);
    }
  }

 private:
  // The input gradient of a channel overwrites the output gradient of its first box.
  V* input_grad(Index channel) const {
    return output_grads_ + channel * p_.boxes_per_channel * output_grad_stride_;
  }

  void load_output_grads(const Tile& tile, const T* image_output_grad) const {
    for (Index row = 0; row < tile.source_rows.count; ++row) {
      load_output_grad_row(p_, image_output_grad, tile.source_rows.first + row, tile.source_columns,
                           out_channels(p_, tile), loaded_output_grads_ + row * row_stride_,
                           source_stride_);
    }
  }

  // Adds the contribution of one box of channel c to the input gradient and to the edge gradients.
  // The first box of a channel overwrites the input gradient instead.
  void add_box(const Tile& tile, const BoxEdges& box, Index c, V* output_grad, bool is_first_box,
               double* boxes_grad) const {
    const BoxEdges mirror = backward_box(box);
    const double factor = common_factor<V>(p_, box);
    const V* input = inputs_ + c * plane_stride_;
    if (p_.normalization == Normalization::kValid) {
      // The planes already have the resolution of the input, so the strides are 1.
      apply_valid_factors(p_, box, tile.source_rows, tile.source_columns, 1, 1, factors_,
                          output_grad, row_stride_);
      sum_input_down(tile, box, input);
    }
    sum_along_rows(tile, box, mirror, factor, output_grad, boxes_grad);

    const PlaneWindows<V> windows(suffix_sums_, &prefetcher_);
    const Index y = tile.rows.first - tile.source_rows.first;
    const auto column_window =
        sliding_window<V>(shifted(mirror.top, y), shifted(mirror.bottom, y), 1.0,
                          max_index(tile.source_rows.count, tile.rows.count));
    windows.down(column_window, output_grad, row_stride_, tile.source_rows.count,
                 padded_width(tile.source_columns.count), column_sums_, tile.rows.count);
    V* result = is_first_box ? input_grad(c) : box_input_grad_;
    windows.down(column_window, row_sums_, row_stride_, tile.source_rows.count,
                 padded_width(tile.columns.count), result, tile.rows.count);
    add_edge_gradients(tile, box, mirror, factor, input, result, boxes_grad);
    if (!is_first_box) add_plane(result, tile.rows.count * row_stride_, input_grad(c));
  }

  // Sets row_sums_ to the sums of the input down the columns of the box, at the source rows.
  // sum_along_rows() needs them for "valid" and replaces them.
  void sum_input_down(const Tile& tile, const BoxEdges& box, const V* input) const {
    const Index y = tile.source_rows.first - tile.rows.first;
    const auto column_window =
        sliding_window<V>(shifted(box.top, y), shifted(box.bottom, y), 1.0,
                          max_index(tile.source_rows.count, tile.rows.count));
    PlaneWindows<V>(suffix_sums_, &prefetcher_)
        .down(column_window, input, row_stride_, tile.rows.count, padded_width(tile.columns.count),
              row_sums_, tile.source_rows.count);
  }

  // Sets row_sums_ to the sums of the output gradient along the rows, times `factor`. For "valid",
  // also adds the derivative of the extents to the edge gradients.
  void sum_along_rows(const Tile& tile, const BoxEdges& box, const BoxEdges& mirror, double factor,
                      const V* output_grad, double* boxes_grad) const {
    const PlaneWindows<V> windows(suffix_sums_, &prefetcher_);
    const Index rows = tile.source_rows.count, columns = tile.columns.count;
    const Index source_columns = tile.source_columns.count;
    const Index x = tile.columns.first - tile.source_columns.first;
    const Index reach = max_index(source_columns, columns);
    const auto row_window =
        sliding_window<V>(shifted(mirror.left, x), shifted(mirror.right, x), factor, reach);
    const auto response_window =
        sliding_window<V>(shifted(box.left, -x), shifted(box.right, -x), 1.0, reach);
    const bool valid = p_.normalization == Normalization::kValid;
    ProductTotals<V> totals(column_lanes_, row_totals_, column_totals_);
    if (valid) totals.start(source_columns);
    for (Index row = 0; row < rows; row += kGroupRows<V>) {
      const Index lines = group_lines<V>(row, rows);
      V* row_sums = row_sums_ + row * row_stride_;
      rows_to_group(output_grad + row * row_stride_, row_stride_, rows - row,
                    padded_width(source_columns), row_group_, lines);
      if (valid) {
        rows_to_group(row_sums, row_stride_, rows - row, padded_width(columns), row_group_sums_,
                      lines);
        windows.along(response_window, row_group_sums_, lines, columns, response_group_,
                      source_columns);
        totals.add_group(response_group_, row_group_, lines, min_index(rows - row, lines));
      }
      windows.along(row_window, row_group_, lines, source_columns, row_group_sums_, columns);
      clear(row_group_sums_ + columns * lines, (padded_width(columns) - columns) * lines);
      group_to_rows(row_group_sums_, lines, padded_width(columns), row_sums, row_stride_, lines);
    }
    if (!valid) return;
    totals.finish();
    add_valid_extent_gradients(p_, box, tile.source_rows, row_totals_, tile.source_columns,
                               column_totals_, boxes_grad);
  }

  // Adds to the gradients of the box's four edges. `input_grad` is the contribution of this box
  // alone to the input gradient. The dot products take a few rows at a time, so that these rows of
  // the input stay in the first-level cache.
  void add_edge_gradients(const Tile& tile, const BoxEdges& box, const BoxEdges& mirror,
                          double factor, const V* input, const V* input_grad,
                          double* boxes_grad) const {
    EdgeSums sums;
    const Index max_rows = dot_product_rows<V>(tile.columns.count);
    for (Index row = 0; row < tile.rows.count; row += max_rows) {
      const Span rows{row, min_index(max_rows, tile.rows.count - row)};
      sums.responses += dot_product(input_grad + row * row_stride_, input + row * row_stride_,
                                    row_stride_, rows.count, tile.columns.count);
      sums.y_min += row_edge_sum(tile, rows, mirror.bottom, input);
      sums.y_max += row_edge_sum(tile, rows, mirror.top, input);
      sums.x_min += column_edge_sum(tile, rows, mirror.right, input);
      sums.x_max += column_edge_sum(tile, rows, mirror.left, input);
    }
    add_edge_sums(p_, box, factor, sums, boxes_grad);
  }

  // The sum of input[y] * row_sums[y + edge.offset] over the given rows y of the tile.
  double row_edge_sum(const Tile& tile, Span rows, EdgeShift edge, const V* input) const {
    const Index shift = tile.rows.first + edge.offset;  // for the first row of the tile
    const Index begin = clamp_index(-shift, rows.first, rows.first + rows.count);
    const Index end = clamp_index(p_.height - shift, begin, rows.first + rows.count);
    if (begin == end) return 0;
    return dot_product(row_sums_ + (begin + shift - tile.source_rows.first) * row_stride_,
                       input + begin * row_stride_, row_stride_, end - begin, tile.columns.count);
  }

  // The sum of input[y][x] * column_sums[y][x + edge.offset] over the given rows y of the tile.
  double column_edge_sum(const Tile& tile, Span rows, EdgeShift edge, const V* input) const {
    const Index shift = tile.columns.first + edge.offset;  // for the first column of the tile
    const Index begin = clamp_index(-shift, 0, tile.columns.count);
    const Index end = clamp_index(p_.width - shift, begin, tile.columns.count);
    if (begin == end) return 0;
    const Index row = rows.first * row_stride_;
    return dot_product(column_sums_ + row + (begin + shift - tile.source_columns.first),
                       input + row + begin, row_stride_, rows.count, end - begin);
  }

  const BoxConvProblem& p_;
  const TBox* boxes_;
  const Index row_stride_;
  Index plane_stride_;   // between planes with the rows `tile.rows`
  Index source_stride_;  // between planes with the rows `tile.source_rows`
  Scratch scratch_;
  bool ok_;
  mutable Prefetcher prefetcher_;
  mutable V* output_grads_;  // of the current tile
  mutable Index output_grad_stride_;
  V *inputs_, *loaded_output_grads_, *row_sums_, *column_sums_, *box_input_grad_;
  V *row_group_, *row_group_sums_, *suffix_sums_, *factors_, *response_group_, *column_lanes_;
  double *row_totals_, *column_totals_;
};

// The part of `partial_boxes_grad` to which a tile adds its edge gradients.
inline double* partial_of(const BoxConvProblem& p, const Tiling& tiling, const Tile& tile,
                          double* partial_boxes_grad) {
  const Index part = tile.image * tiling.rectangles_per_image() + tile.rectangle;
  return partial_boxes_grad + (part * p.channels + tile.channels.first) * p.boxes_per_channel * 4;
}

template <typename T, typename TBox>
bool backward_tiles(const BoxConvProblem& p, const Tiling& tiling, const T* input,
                    const TBox* boxes, const T* output_grad, T* input_grad,
                    double* partial_boxes_grad, Index begin, Index end) {
  const BackwardKernel<T, TBox> kernel(p, boxes, tiling);
  if (!kernel.ok()) return false;
  const ImageShape in = input_shape(p), out = output_shape(p);
  for (Index i = begin; i < end; ++i) {
    const Tile tile = tiling.at(i), next = tiling.at(min_index(i + 1, end - 1));
    T* result = input_grad + tile.image * in.size();
    // Prefetches as the forward pass does, but the next tile reads two tensors.
    PrefetchQueue prefetchers;
    if (begins_cache_line<T>(tile.channels)) {
      prefetchers.add(pixel_prefetcher(in, result, tile.rows, tile.columns, tile.channels));
    }
    if (ends_cache_line<T>(tile.channels, p.channels)) {
      prefetchers.add(pixel_prefetcher(
          out, output_grad + next.image * out.size(),
          {next.source_rows.first / p.stride_y, next.source_rows.count / p.stride_y},
          {0, out.width}, out_channels(p, next)));
      prefetchers.add(pixel_prefetcher(in, input + next.image * in.size(), next.rows, next.columns,
                                       next.channels));
    }
    kernel.run(tile, input + tile.image * in.size(), output_grad + tile.image * out.size(),
               prefetchers, result, partial_of(p, tiling, tile, partial_boxes_grad));
  }
  return true;
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_BOX_CONV_BACKWARD_H_
