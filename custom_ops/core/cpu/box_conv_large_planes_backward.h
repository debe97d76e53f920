// The backward pass on large planes, in groups of 16 rows like the forward pass
// (box_conv_large_planes_forward.h). Let x be the plane of the input and g the plane of the output
// gradient. Unlike in box_conv_backward.h, sums down the columns come first, since running sums
// compute these:
//
//   column_sums = g summed down the columns of the mirrored box
//   input_grad  = column_sums summed along the rows of the mirrored box
//   input_sums  = x summed along the rows of the box
//
//   d loss / d y_min = - sum of input_sums * g      at the rows of the box's top edge
//   d loss / d y_max = + sum of input_sums * g      at the rows of its bottom edge
//   d loss / d x_min = - sum of x * column_sums     at the columns of its left edge
//   d loss / d x_max = + sum of x * column_sums     at the columns of its right edge
//
// Normalization "valid" is not supported.
#ifndef BOXCONV_CORE_CPU_BOX_CONV_LARGE_PLANES_BACKWARD_H_
#define BOXCONV_CORE_CPU_BOX_CONV_LARGE_PLANES_BACKWARD_H_

#include <atomic>
#include <cmath>

#include "core/base/problem.h"
#include "core/cpu/box_conv_backward.h"
#include "core/cpu/dot_product.h"
#include "core/cpu/edge_sums.h"
#include "core/cpu/row_rings.h"
#include "core/cpu/running_sums.h"

namespace boxconv {
namespace BOXCONV_ISA {

template <typename T>
class LargePlanesBackwardKernel {
 public:
  using V = typename PlaneType<T>::type;

  // Allocates scratch memory for any tile of `tiling` with at most `channels` channels. Check ok()
  // before anything else.
  LargePlanesBackwardKernel(const BoxConvProblem& p, const float* boxes, const BoxReach& reach,
                            const Tiling& tiling, Index channels)
      : p_(p), boxes_(boxes), reach_(reach), row_stride_(padded_stride(padded_width(p.width))) {
    const Index planes = channels * p.boxes_per_channel;
    const Index ring = reads_in_place() ? 0 : ring_rows<V>(tiling, reach, 1);
    const Index group_size = kGroupRows<V> * padded_width(p.width);
    ok_ = scratch_.allocate([&] {
      output_grads_ = RowRings<V>(scratch_.array<V>(RowRings<V>::size(planes, ring, p.width)),
                                  planes, ring, p.width, p.height);
      running_sums_ = scratch_.array<double>(planes * RunningSums<V>::size(p.width));
      inputs_ = scratch_.array<V>(channels * kGroupRows<V> * row_stride_);
      input_grads_ = scratch_.array<V>(channels * kGroupRows<V> * row_stride_);
      input_sum_rows_ = scratch_.array<V>(kGroupRows<V> * row_stride_);
      strip_ = scratch_.array<V>(kGroupRows<V> * kStrip);
      addresses_ = scratch_.array<const V*>(RunningSums<V>::addresses_size(kGroupRows<V>));
      input_group_ = scratch_.array<V>(group_size);
      column_sums_ = scratch_.array<V>(group_size);
      input_grad_group_ = scratch_.array<V>(group_size);
      box_group_ = scratch_.array<V>(group_size);
      suffix_sums_ = scratch_.array<V>(PlaneWindows<V>::suffix_size(p.width));
    });
    if (ok_) output_grads_.clear_zeros();
  }
  bool ok() const { return ok_; }

  // Computes the input gradient of a tile and adds the tile's contribution to the gradients of its
  // boxes. Returns false if a running sum was too large or an edge gradient is not finite; the
  // results are then wrong.
  bool run(const Tile& tile, const T* image, const T* image_output_grad, T* image_input_grad,
           double* boxes_grad) const {
    const Index boxes = out_channels(p_, tile).count;
    clear(running_sums_, boxes * RunningSums<V>::size(p_.width));
    bool ok = true;
    Index loaded = tile.source_rows.first;
    for (Index row = 0; row < tile.rows.count; row += kGroupRows<V>) {
      const Span rows{tile.rows.first + row, min_index(kGroupRows<V>, tile.rows.count - row)};
      const Index end = min_index(rows.first + rows.count + reach_.bottom, p_.height);
      while (loaded < end) {
        const Span next = next_rows(loaded, end);
        load(tile, image_output_grad, next);
        if (row == 0) start(tile, image_output_grad, next);
        loaded += next.count;
      }
      for (Index i = 0; i < rows.count; ++i) {
        load_row(input_shape(p_), image, rows.first + i, tile.columns, tile.channels,
                 inputs_ + i * row_stride_, kGroupRows<V> * row_stride_);
      }
      for (Index c = 0; c < tile.channels.count; ++c) {
        ok &= add_channel(tile, rows, c, image_output_grad, boxes_grad);
      }
      for (Index i = 0; i < rows.count; ++i) {
        store_row(input_shape(p_), input_grads_ + i * row_stride_, kGroupRows<V> * row_stride_,
                  rows.first + i, tile.columns, tile.channels, image_input_grad);
      }
    }
    // Here, infinities give NaN in edge gradients that box_conv_backward.h leaves finite.
    for (Index i = 0; i < boxes * 4; ++i) ok &= std::isfinite(boxes_grad[i]);
    return ok;
  }

 private:
  // Whether the output gradient already has the type, the layout and the resolution of planes.
  bool reads_in_place() const {
    return std::is_same<T, V>::value && p_.layout == Layout::kChannelsFirst && p_.stride_y == 1 &&
           p_.stride_x == 1;
  }

  // The rows of the output gradient of box i of a tile, counted over all its channels.
  PlaneRows<V> output_grad_rows(const T* image_output_grad, const Tile& tile, Index i) const {
    if constexpr (std::is_same<T, V>::value) {
      if (reads_in_place()) {
        const Index plane = out_channels(p_, tile).first + i;
        return output_grads_.rows_of(image_output_grad + plane * p_.height * p_.width, p_.width);
      }
    }
    return output_grads_.rows(i);
  }

  // Loads rows of the output gradient, unless they are read in place.
  void load(const Tile& tile, const T* image_output_grad, Span rows) const {
    if (reads_in_place()) return;
    for (Index y = rows.first; y < rows.first + rows.count; ++y) {
      load_output_grad_row(p_, image_output_grad, y, {0, p_.width}, out_channels(p_, tile),
                           output_grads_.row(0, y), output_grads_.plane_stride());
    }
  }

  // Adds the given rows to the sums before the first row of a tile.
  void start(const Tile& tile, const T* image_output_grad, Span rows) const {
    for (Index i = 0; i < out_channels(p_, tile).count; ++i) {
      const BoxEdges box = box_of(tile, i);
      if (box.empty) continue;
      sums_of(backward_box(box), i)
          .start(output_grad_rows(image_output_grad, tile, i), tile.rows.first, rows.first,
                 rows.first + rows.count);
    }
  }

  // Box i of a tile, counted over all its channels, and its running sums.
  BoxEdges box_of(const Tile& tile, Index i) const {
    return box_edges(boxes_ + (out_channels(p_, tile).first + i) * 4);
  }
  RunningSums<V> sums_of(const BoxEdges& mirror, Index i) const {
    return RunningSums<V>(sliding_window<V>(mirror.top, mirror.bottom, 1.0, p_.height), p_.width,
                          running_sums_ + i * RunningSums<V>::size(p_.width));
  }

  // Computes the rows `rows` of the input gradient of channel c of a tile. Returns false if a
  // running sum was too large.
  bool add_channel(const Tile& tile, Span rows, Index c, const T* image_output_grad,
                   double* boxes_grad) const {
    const Index lines = group_lines<V>(0, rows.count);
    V* const input = inputs_ + c * kGroupRows<V> * row_stride_;
    // Lines without a row are zero, so that they do not contribute to dot products.
    clear(input + rows.count * row_stride_, (lines - rows.count) * row_stride_);
    transpose(input, row_stride_, lines, p_.width, input_group_, lines);
    bool is_first_box = true, ok = true;
    for (Index m = 0; m < p_.boxes_per_channel; ++m) {
      const Index i = c * p_.boxes_per_channel + m;
      const BoxEdges box = box_of(tile, i);
      if (box.empty) continue;
      ok &= add_box(rows, box, i, output_grad_rows(image_output_grad, tile, i), is_first_box,
                    boxes_grad + i * 4);
      is_first_box = false;
    }
    V* const result = input_grads_ + c * kGroupRows<V> * row_stride_;
    if (is_first_box) {
      clear(result, rows.count * row_stride_);
    } else {
      group_to_rows(input_grad_group_, lines, padded_width(p_.width), result, row_stride_, lines);
    }
    return ok;
  }

  // Adds the contribution of box i of a tile to input_grad_group_ and to the edge gradients. The
  // first box of a channel overwrites input_grad_group_ instead. Returns false if a running sum was
  // too large.
  bool add_box(Span rows, const BoxEdges& box, Index i, const PlaneRows<V>& output_grad,
               bool is_first_box, double* boxes_grad) const {
    const BoxEdges mirror = backward_box(box);
    const double factor = common_factor<V>(p_, box);
    const Index lines = group_lines<V>(0, rows.count);
    const bool ok = sum_columns(rows, sums_of(mirror, i), output_grad);

    const PlaneWindows<V> windows(suffix_sums_, &prefetcher_);
    V* const input_grad = is_first_box ? input_grad_group_ : box_group_;
    windows.along(sliding_window<V>(mirror.left, mirror.right, factor, p_.width), column_sums_,
                  lines, p_.width, input_grad, p_.width);
    EdgeSums sums;
    sums.responses = dot_product(input_grad, input_group_, p_.width * lines);
    if (!is_first_box) add_plane(box_group_, p_.width * lines, input_grad_group_);

    windows.along(sliding_window<V>(box.left, box.right, factor, p_.width), input_group_, lines,
                  p_.width, box_group_, p_.width);
    group_to_rows(box_group_, lines, padded_width(p_.width), input_sum_rows_, row_stride_, lines);

    sums.y_min = row_edge_sum(rows, mirror.bottom, output_grad);
    sums.y_max = row_edge_sum(rows, mirror.top, output_grad);
    sums.x_min = column_edge_sum(mirror.right, lines);
    sums.x_max = column_edge_sum(mirror.left, lines);
    add_edge_sums(p_, box, factor, sums, boxes_grad);
    return ok;
  }

  // Sets column_sums_ to the group of the sums of the output gradient down the columns. Returns
  // false if a running sum was too large.
  bool sum_columns(Span rows, RunningSums<V> sums, const PlaneRows<V>& output_grad) const {
    const Index lines = group_lines<V>(0, rows.count);
    clear(strip_ + rows.count * kStrip, (lines - rows.count) * kStrip);
    sums.set_rows(output_grad, rows.first, rows.count, addresses_);
    bool ok = true;
    for (Index strip = 0; strip < strips_of(p_.width); ++strip) {
      ok &= sums.slide(strip, strip_);
      transpose(strip_, kStrip, lines, kStrip, column_sums_ + strip_begin(strip, p_.width) * lines,
                lines);
    }
    return ok;
  }

  // The sum of input_sums[y] * output_grad[y + edge.offset] over the given rows y.
  double row_edge_sum(Span rows, EdgeShift edge, const PlaneRows<V>& output_grad) const {
    double sum = 0;
    for (Index i = 0; i < rows.count; ++i) {
      const Index y = rows.first + i + edge.offset;
      if (inside(y, p_.height)) {
        sum += dot_product(input_sum_rows_ + i * row_stride_, output_grad.row(y), p_.width);
      }
    }
    return sum;
  }

  // The sum of input[x] * column_sums[x + edge.offset] over all columns x of a group.
  double column_edge_sum(EdgeShift edge, Index lines) const {
    const Index begin = clamp_index(-edge.offset, 0, p_.width);
    const Index end = clamp_index(p_.width - edge.offset, begin, p_.width);
    if (begin == end) return 0;
    return dot_product(column_sums_ + (begin + edge.offset) * lines, input_group_ + begin * lines,
                       (end - begin) * lines);
  }

  const BoxConvProblem& p_;
  const float* boxes_;
  const BoxReach reach_;
  const Index row_stride_;
  Scratch scratch_;
  bool ok_;
  mutable Prefetcher prefetcher_;
  RowRings<V> output_grads_;
  double* running_sums_;
  const V** addresses_;
  V *inputs_, *input_grads_, *input_sum_rows_;                      // rows
  V *input_group_, *column_sums_, *input_grad_group_, *box_group_;  // groups of rows
  V *strip_, *suffix_sums_;
};

// Sets *ok to false if the results are wrong; see LargePlanesBackwardKernel::run.
template <typename T>
bool large_planes_backward(const BoxConvProblem& p, const BoxReach& reach, const Tiling& tiling,
                           const T* input, const float* boxes, const T* output_grad, T* input_grad,
                           double* partial_boxes_grad, std::atomic<bool>* ok, Index begin,
                           Index end) {
  const LargePlanesBackwardKernel<T> kernel(p, boxes, reach, tiling,
                                            tiling.max_joined_channels(end - begin));
  if (!kernel.ok()) return false;
  for (Index i = begin, joined; i < end; i += joined) {
    joined = tiling.joined(i, end);
    const Tile tile = tiling.at(i, joined);
    const Index in = tile.image * input_shape(p).size(), out = tile.image * output_shape(p).size();
    if (!kernel.run(tile, input + in, output_grad + out, input_grad + in,
                    partial_of(p, tiling, tile, partial_boxes_grad))) {
      *ok = false;
    }
  }
  return true;
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_BOX_CONV_LARGE_PLANES_BACKWARD_H_
