// The backward pass on large planes, in steps like the forward pass
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
#include "core/cpu/large_planes.h"
#include "core/cpu/row_rings.h"
#include "core/cpu/running_sums.h"

namespace boxconv {
namespace BOXCONV_ISA {

template <typename T>
class LargePlanesBackwardKernel {
 public:
  using V = typename PlaneType<T>::type;

  LargePlanesBackwardKernel(const LargeTile& t, const float* boxes)
      : p_(t.problem),
        reach_(t.reach),
        tile_(t.tile),
        step_rows_(t.plan.step_rows),
        boxes_(boxes),
        row_stride_(padded_stride(padded_width(p_.width))) {
    MemoryLayout memory(t.memory);
    set_shared_arrays(t.plan.tiling, &memory);
  }

  // The bytes of memory that the phases of a tile share.
  Index shared_bytes(const Tiling& tiling) {
    MemoryLayout memory;
    set_shared_arrays(tiling, &memory);
    return memory.size();
  }

  // The first phase of a step, for the rows [begin, end).
  void run_rows(const TileStep& step, const T* image, const T* image_output_grad,
                T* image_input_grad, Index begin, Index end) const {
    for (Index i = begin; i < min_index(end, step.stored.count); ++i) {
      store_row(input_shape(p_), input_grads_ + i * row_stride_, channel_stride(),
                step.stored.first + i, tile_.columns, tile_.channels, image_input_grad);
    }
    for (Index i = begin; i < min_index(end, step.computed.count); ++i) {
      load_row(input_shape(p_), image, step.computed.first + i, tile_.columns, tile_.channels,
               inputs_ + i * row_stride_, channel_stride());
    }
    if (reads_in_place()) return;
    for (Index i = begin; i < min_index(end, step.loaded.count); ++i) {
      const Index y = step.loaded.first + i;
      load_output_grad_row(p_, image_output_grad, y, {0, p_.width}, out_channels(p_, tile_),
                           output_grads_.row(0, y), output_grads_.plane_stride());
    }
  }

  // Allocates the scratch memory that run_channel() needs. Returns false if there is not enough.
  bool allocate_scratch() {
    const Index group_size = kGroupRows<V> * padded_width(p_.width);
    const bool ok = scratch_.allocate([&] {
      zeros_ = scratch_.array<V>(padded_width(p_.width));
      input_sum_rows_ = scratch_.array<V>(kGroupRows<V> * row_stride_);
      strip_ = scratch_.array<V>(kGroupRows<V> * kStrip);
      addresses_ = scratch_.array<const V*>(RunningSums<V>::addresses_size(kGroupRows<V>));
      input_group_ = scratch_.array<V>(group_size);
      column_sums_ = scratch_.array<V>(group_size);
      input_grad_group_ = scratch_.array<V>(group_size);
      box_group_ = scratch_.array<V>(group_size);
      suffix_sums_ = scratch_.array<V>(PlaneWindows<V>::suffix_size(p_.width));
    });
    if (ok) clear(zeros_, padded_width(p_.width));
    return ok;
  }

  // The second phase of a step, for channel c of the tile: computes its input gradient and adds the
  // step's contribution to the gradients of the tile's boxes. Returns false if a running sum was
  // too large or an edge gradient is not finite; the results are then wrong.
  bool run_channel(const TileStep& step, const T* image_output_grad, Index c,
                   double* boxes_grad) const {
    bool ok = true;
    const Index first = c * p_.boxes_per_channel, last = first + p_.boxes_per_channel;
    for (Index i = first; i < last && step.is_first; ++i) start(image_output_grad, step.loaded, i);
    for (Index row = 0; row < step.computed.count; row += kGroupRows<V>) {
      const Span rows{step.computed.first + row,
                      min_index(kGroupRows<V>, step.computed.count - row)};
      const Index offset = c * channel_stride() + row * row_stride_;
      ok &= add_group(rows, c, image_output_grad, inputs_ + offset, input_grads_ + offset,
                      boxes_grad);
    }
    // Here, infinities give NaN in edge gradients that box_conv_backward.h leaves finite.
    for (Index i = first * 4; i < last * 4; ++i) ok &= std::isfinite(boxes_grad[i]);
    return ok;
  }

 private:
  // Whether the output gradient already has the type, the layout and the resolution of planes.
  bool reads_in_place() const {
    return std::is_same<T, V>::value && p_.layout == Layout::kChannelsFirst && p_.stride_y == 1 &&
           p_.stride_x == 1;
  }

  // Sets the arrays that the phases share: for each box the rows within reach and the running sums,
  // for each channel the input and its gradient in a step.
  void set_shared_arrays(const Tiling& tiling, MemoryLayout* memory) {
    const Index channels = tiling.channels_per_tile(), planes = channels * p_.boxes_per_channel;
    const Index rows = reads_in_place() ? 0 : ring_rows(tiling, reach_, step_rows_, 1);
    output_grads_ = RowRings<V>(memory->array<V>(RowRings<V>::size(planes, rows, p_.width)), rows,
                                p_.width, p_.height);
    running_sums_ = memory->array<double>(planes * RunningSums<V>::size(p_.width));
    inputs_ = memory->array<V>(channels * channel_stride());
    input_grads_ = memory->array<V>(channels * channel_stride());
  }
  // Between neighbouring channels of a step's inputs.
  Index channel_stride() const { return step_rows_ * row_stride_; }

  // The rows of the output gradient of box i, counted over all channels of the tile.
  PlaneRows<V> output_grad_rows(const T* image_output_grad, Index i) const {
    if constexpr (std::is_same<T, V>::value) {
      if (reads_in_place()) {
        const Index plane = out_channels(p_, tile_).first + i;
        return {image_output_grad + plane * p_.height * p_.width, p_.width, p_.height, p_.height,
                zeros_};
      }
    }
    return output_grads_.rows(i, zeros_);
  }

  // Adds the rows `loaded` to the sums of box i before the first row of the tile.
  void start(const T* image_output_grad, Span loaded, Index i) const {
    const BoxEdges box = box_of(i);
    if (box.empty) return;
    const RunningSums<V> sums = sums_of(backward_box(box), i);
    sums.clear();
    sums.start(output_grad_rows(image_output_grad, i), tile_.rows.first, loaded.first,
               loaded.first + loaded.count);
  }

  // Box i, counted over all channels of the tile, and its running sums.
  BoxEdges box_of(Index i) const {
    return box_edges(boxes_ + (out_channels(p_, tile_).first + i) * 4);
  }
  RunningSums<V> sums_of(const BoxEdges& mirror, Index i) const {
    return RunningSums<V>(sliding_window<V>(mirror.top, mirror.bottom, 1.0, p_.height), p_.width,
                          running_sums_ + i * RunningSums<V>::size(p_.width));
  }

  // Computes a group of rows of the input gradient of channel c. Returns false if a running sum was
  // too large.
  bool add_group(Span rows, Index c, const T* image_output_grad, V* input, V* input_grad,
                 double* boxes_grad) const {
    const Index lines = group_lines<V>(0, rows.count);
    // Lines without a row are zero, so that they do not contribute to dot products.
    clear(input + rows.count * row_stride_, (lines - rows.count) * row_stride_);
    transpose(input, row_stride_, lines, p_.width, input_group_, lines);
    bool is_first_box = true, ok = true;
    for (Index i = c * p_.boxes_per_channel; i < (c + 1) * p_.boxes_per_channel; ++i) {
      const BoxEdges box = box_of(i);
      if (box.empty) continue;
      ok &= add_box(rows, box, i, output_grad_rows(image_output_grad, i), is_first_box,
                    boxes_grad + i * 4);
      is_first_box = false;
    }
    if (is_first_box) {
      clear(input_grad, rows.count * row_stride_);
    } else {
      group_to_rows(input_grad_group_, lines, padded_width(p_.width), input_grad, row_stride_,
                    lines);
    }
    return ok;
  }

  // Adds the contribution of box i to input_grad_group_ and to the edge gradients. The
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
  const BoxReach& reach_;
  const Tile tile_;
  const Index step_rows_;
  const float* const boxes_;
  const Index row_stride_;
  mutable Prefetcher prefetcher_;
  // Shared by the phases.
  RowRings<V> output_grads_;
  double* running_sums_;
  V *inputs_, *input_grads_;
  // Of one thread in the second phase.
  Scratch scratch_;
  const V** addresses_;
  V *zeros_, *strip_, *suffix_sums_, *input_sum_rows_;
  V *input_group_, *column_sums_, *input_grad_group_, *box_group_;  // groups of rows
};

template <typename T>
Index large_planes_backward_bytes(const LargeTile& t) {
  return LargePlanesBackwardKernel<T>(t, nullptr).shared_bytes(t.plan.tiling);
}

template <typename T>
void large_planes_backward_rows(const LargeTile& t, const TileStep& step, const T* image,
                                const T* output_grad, T* input_grad, Index begin, Index end) {
  LargePlanesBackwardKernel<T>(t, nullptr)
      .run_rows(step, image, output_grad, input_grad, begin, end);
}

template <typename T>
bool large_planes_backward_channels(const LargeTile& t, const TileStep& step, const float* boxes,
                                    const T* output_grad, double* partial_boxes_grad,
                                    std::atomic<bool>* ok, Index begin, Index end) {
  LargePlanesBackwardKernel<T> kernel(t, boxes);
  if (!kernel.allocate_scratch()) return false;
  double* const boxes_grad = partial_of(t.problem, t.plan.tiling, t.tile, partial_boxes_grad);
  for (Index c = begin; c < end; ++c) {
    if (!kernel.run_channel(step, output_grad, c, boxes_grad)) *ok = false;
  }
  return true;
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_BOX_CONV_LARGE_PLANES_BACKWARD_H_
