// The backward pass for small planes of many images, with the images in the lanes. It computes the
// sums of box_conv_backward.h. The edge gradients are summed over all images of a tile.
#ifndef BOXCONV_CORE_CPU_BOX_CONV_SMALL_PLANES_BACKWARD_H_
#define BOXCONV_CORE_CPU_BOX_CONV_SMALL_PLANES_BACKWARD_H_

#include "core/base/problem.h"
#include "core/cpu/box_conv_small_planes_forward.h"
#include "core/cpu/dot_product.h"
#include "core/cpu/edge_sums.h"
#include "core/cpu/small_plane_windows.h"
#include "core/cpu/small_planes.h"
#include "core/cpu/valid_extent.h"
#include "core/geometry/box_extent.h"

namespace boxconv {
namespace BOXCONV_ISA {

// The inverse of gather_outputs. Pixels without an output become zero.
template <typename V>
void scatter_outputs(const BoxConvProblem& p, V* plane) {
  // From the last pixel on, so that no output is overwritten before it has moved.
  const V* in = plane + p.out_height() * p.out_width() * kLanes<V>;
  V* out = plane + p.height * p.width * kLanes<V>;
  for (Index y = p.height; y-- > 0;) {
    for (Index x = p.width; x-- > 0;) {
      Vector<V> value = {};
      if (y % p.stride_y == 0 && x % p.stride_x == 0) value = load_vector(in -= kLanes<V>);
      store_vector<V>(value, out -= kLanes<V>);
    }
  }
}

// The sum of all lanes.
template <typename V>
BOXCONV_INLINE double sum_of_lanes(const Vector<V>& values) {
  double sum = 0;
  for (int i = 0; i < kLanes<V>; ++i) sum += values[i];
  return sum;
}

template <typename T, typename TBox>
class SmallPlanesBackwardKernel {
 public:
  using V = typename PlaneType<T>::type;

  // Allocates scratch memory for any tile of `tiling`. Check ok() before anything else.
  SmallPlanesBackwardKernel(const BoxConvProblem& p, const TBox* boxes,
                            const SmallPlaneTiling& tiling)
      : p_(p),
        boxes_(boxes),
        max_channels_(tiling.max_channels()),
        in_place_(p.boxes_per_channel == 1),
        row_size_(p.width * kLanes<V>),
        plane_size_(p.height * row_size_),
        plane_stride_(padded_stride(plane_size_)) {
    const Index planes_size = padded_planes<V>(max_channels_) * plane_stride_;
    ok_ = scratch_.allocate([&] {
      inputs_ = scratch_.array<V>(planes_size);
      output_grads_ = scratch_.array<V>(planes_size);
      input_grads_ = in_place_ ? output_grads_ : scratch_.array<V>(planes_size);
      box_input_grad_ = scratch_.array<V>(in_place_ ? 0 : plane_size_);
      row_sums_ = scratch_.array<V>(plane_size_);
      column_sums_ = scratch_.array<V>(plane_size_);
      suffix_ = scratch_.array<V>(SmallPlaneWindows<V>::suffix_size(max_index(p.height, p.width)));
      factors_ = scratch_.array<V>(p.width);
      column_products_ = scratch_.array<V>(row_size_);
      row_totals_ = scratch_.array<double>(p.height);
      column_totals_ = scratch_.array<double>(p.width);
    });
  }

  bool ok() const { return ok_; }

  // Computes the input gradient of a tile and adds the tile's contribution to the gradients of its
  // boxes.
  void run(const SmallPlaneTile& tile, const T* input, const T* output_grad, T* input_grad,
           double* boxes_grad) const {
    load_small_planes(input_shape(p_), input, tile.images, tile.channels, inputs_, plane_stride_);
    const Index first = tile.channels.first * p_.boxes_per_channel;
    const Index count = tile.channels.count * p_.boxes_per_channel;
    if (!in_place_) clear(input_grads_, tile.channels.count * plane_stride_);
    for (Index begin = 0; begin < count; begin += max_channels_) {
      const Span boxes{first + begin, min_index(max_channels_, count - begin)};
      load_small_planes(output_shape(p_), output_grad, tile.images, boxes, output_grads_,
                        plane_stride_);
      for (Index i = 0; i < boxes.count; ++i) {
        const Index offset = (begin + i) / p_.boxes_per_channel * plane_stride_;
        V* const box_output_grad = output_grads_ + i * plane_stride_;
        V* const result = in_place_ ? box_output_grad : box_input_grad_;
        if (p_.stride_y > 1 || p_.stride_x > 1) scatter_outputs(p_, box_output_grad);
        add_box(box_edges(boxes_ + (boxes.first + i) * 4), inputs_ + offset, box_output_grad,
                result, boxes_grad + (boxes.first + i) * 4);
        if (in_place_) continue;
        V* const sum = input_grads_ + offset;
        for (Index j = 0; j < plane_size_; ++j) sum[j] += result[j];
      }
    }
    store_small_planes(input_shape(p_), input_grads_, plane_stride_, tile.images, tile.channels,
                       input_grad);
  }

 private:
  // Sets `result` to the contribution of one box to the input gradient and adds to the gradients of
  // its edges. `result` may be `output_grad`.
  void add_box(const BoxEdges& box, const V* input, V* output_grad, V* result,
               double* boxes_grad) const {
    if (box.empty) {
      clear(result, plane_size_);
      return;
    }
    if (p_.normalization == Normalization::kValid) {
      apply_valid_factors(p_, box, factors_, output_grad);
      add_valid_gradients(box, input, output_grad, boxes_grad);
    }
    const BoxEdges mirror = backward_box(box);
    const double factor = common_factor<V>(p_, box);
    const auto row_window = sliding_window<V>(mirror.left, mirror.right, factor, p_.width);
    const auto column_window = sliding_window<V>(mirror.top, mirror.bottom, 1.0, p_.height);
    const SmallPlaneWindows<V> windows(suffix_);
    windows.slide(row_window, row_axis<V>(p_), output_grad, row_sums_);
    windows.slide(column_window, column_axis<V>(p_), output_grad, column_sums_);
    windows.slide(column_window, column_axis<V>(p_), row_sums_, result);
    add_edge_gradients(box, mirror, factor, input, result, boxes_grad);
  }

  // Adds the derivative of the normalization "valid". `output_grad` includes the factors already.
  void add_valid_gradients(const BoxEdges& box, const V* input, const V* output_grad,
                           double* boxes_grad) const {
    V *const column_sums = row_sums_, *const box_sums = column_sums_;  // not in use yet
    const SmallPlaneWindows<V> windows(suffix_);
    windows.slide(sliding_window<V>(box.top, box.bottom, 1.0, p_.height), column_axis<V>(p_), input,
                  column_sums);
    windows.slide(sliding_window<V>(box.left, box.right, 1.0, p_.width), row_axis<V>(p_),
                  column_sums, box_sums);
    total_products(box_sums, output_grad);
    add_valid_extent_gradients(p_, box, {0, p_.height}, row_totals_, {0, p_.width}, column_totals_,
                               boxes_grad);
  }

  // Sets row_totals_ and column_totals_ to the totals of a * b at the outputs, over all images.
  void total_products(const V* a, const V* b) const {
    clear(row_totals_, p_.height);
    clear(column_totals_, p_.width);
    clear(column_products_, row_size_);
    for (Index y = 0; y < p_.height; y += p_.stride_y) {
      Vector<V> row = {};
      for (Index x = 0; x < p_.width; x += p_.stride_x) {
        const Index pixel = y * row_size_ + x * kLanes<V>;
        V* column = column_products_ + x * kLanes<V>;
        const Vector<V> product = load_vector(a + pixel) * load_vector(b + pixel);
        row += product;
        store_vector<V>(load_vector(column) + product, column);
      }
      row_totals_[y] = sum_of_lanes<V>(row);
    }
    for (Index x = 0; x < p_.width; x += p_.stride_x) {
      column_totals_[x] = sum_of_lanes<V>(load_vector(column_products_ + x * kLanes<V>));
    }
  }

  void add_edge_gradients(const BoxEdges& box, const BoxEdges& mirror, double factor,
                          const V* input, const V* input_grad, double* boxes_grad) const {
    EdgeSums sums;
    const Index max_rows = dot_product_rows<V>(row_size_);
    for (Index row = 0; row < p_.height; row += max_rows) {
      const Span rows{row, min_index(max_rows, p_.height - row)};
      sums.responses += dot_product(input_grad + row * row_size_, input + row * row_size_,
                                    row_size_, rows.count, row_size_);
      sums.y_min += row_edge_sum(rows, mirror.bottom.offset, input);
      sums.y_max += row_edge_sum(rows, mirror.top.offset, input);
      sums.x_min += column_edge_sum(rows, mirror.right.offset, input);
      sums.x_max += column_edge_sum(rows, mirror.left.offset, input);
    }
    add_edge_sums(p_, box, factor, sums, boxes_grad);
  }

  // The sum of input[y] * row_sums[y + shift] over the given rows y.
  double row_edge_sum(Span rows, Index shift, const V* input) const {
    const Index begin = clamp_index(-shift, rows.first, rows.first + rows.count);
    const Index end = clamp_index(p_.height - shift, begin, rows.first + rows.count);
    if (begin == end) return 0;
    return dot_product(row_sums_ + (begin + shift) * row_size_, input + begin * row_size_,
                       row_size_, end - begin, row_size_);
  }

  // The sum of input[y][x] * column_sums[y][x + shift] over the given rows y.
  double column_edge_sum(Span rows, Index shift, const V* input) const {
    const Index begin = clamp_index(-shift, 0, p_.width);
    const Index end = clamp_index(p_.width - shift, begin, p_.width);
    if (begin == end) return 0;
    const Index row = rows.first * row_size_;
    return dot_product(column_sums_ + row + (begin + shift) * kLanes<V>,
                       input + row + begin * kLanes<V>, row_size_, rows.count,
                       (end - begin) * kLanes<V>);
  }

  const BoxConvProblem& p_;
  const TBox* boxes_;
  const Index max_channels_;
  const bool
      in_place_;  // the input gradient of a channel's only box overwrites the output gradient
  const Index row_size_, plane_size_, plane_stride_;
  Scratch scratch_;
  bool ok_;
  V *inputs_, *output_grads_, *input_grads_, *box_input_grad_;
  V *row_sums_, *column_sums_, *suffix_, *factors_, *column_products_;
  double *row_totals_, *column_totals_;
};

template <typename T, typename TBox>
bool small_planes_backward(const BoxConvProblem& p, const SmallPlaneTiling& tiling, const T* input,
                           const TBox* boxes, const T* output_grad, T* input_grad,
                           double* partial_boxes_grad, Index begin, Index end) {
  const SmallPlanesBackwardKernel<T, TBox> kernel(p, boxes, tiling);
  if (!kernel.ok()) return false;
  for (Index i = begin; i < end;) {
    const Index units = tiling.joined_units(i, end);
    const SmallPlaneTile tile = tiling.tile(i, units);
    kernel.run(tile, input, output_grad, input_grad,
               partial_boxes_grad + tile.image_group * p.boxes_size());
    i += units;
  }
  return true;
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_BOX_CONV_SMALL_PLANES_BACKWARD_H_
