// The forward pass. For each tile:
//
//   1. copy the tile's channels to planes,
//   2. for each box: sum over the box's rows, down the columns of its plane,
//   3. then sum over the box's columns, along the rows of those sums,
//   4. store the responses.
#ifndef BOXCONV_CORE_CPU_BOX_CONV_FORWARD_H_
#define BOXCONV_CORE_CPU_BOX_CONV_FORWARD_H_

#include "core/base/problem.h"
#include "core/cpu/image_rows.h"
#include "core/cpu/plane_windows.h"
#include "core/cpu/scratch.h"
#include "core/cpu/tiling.h"
#include "core/cpu/valid_extent.h"
#include "core/geometry/box_extent.h"

namespace boxconv {
namespace BOXCONV_ISA {

template <typename T, typename TBox>
class ForwardKernel {
 public:
  using V = typename PlaneType<T>::type;

  // Allocates scratch memory for any tile of `tiling`. Check ok() before anything else.
  ForwardKernel(const BoxConvProblem& p, const TBox* boxes, const Tiling& tiling)
      : p_(p),
        boxes_(boxes),
        row_stride_(padded_stride(padded_width(tiling.columns().source_length()))) {
    const Index source_rows = tiling.rows().source_length();
    const Index source_columns = tiling.columns().source_length();
    const Index sum_rows = (tiling.rows().length() - 1) * p.stride_y + 1;
    const Index columns = tiling.columns().length();
    const Index group_rows = round_up(tiling.rows().length(), kGroupRows<V>);
    plane_stride_ = padded_stride(max_index(source_rows, group_rows) * row_stride_);
    // If a channel has one box, its responses overwrite the plane of the input.
    const bool in_place = p.boxes_per_channel == 1;
    const Index response_planes = tiling.channels_per_tile() * p.boxes_per_channel;
    const Index group_sum_columns = max_index(row_stride_, padded_width(columns) * p.stride_x);
    ok_ = scratch_.allocate([&] {
      planes_ = scratch_.array<V>(tiling.channels_per_tile() * plane_stride_);
      responses_ = in_place ? planes_ : scratch_.array<V>(response_planes * plane_stride_);
      column_sums_ = scratch_.array<V>(sum_rows * row_stride_);
      row_group_ = scratch_.array<V>(kGroupRows<V> * row_stride_);
      suffix_sums_ =
          scratch_.array<V>(PlaneWindows<V>::suffix_size(max_index(source_rows, source_columns)));
      row_group_sums_ = scratch_.array<V>(kGroupRows<V> * group_sum_columns);
      factors_ = scratch_.array<V>(padded_width(columns));
    });
  }

  bool ok() const { return ok_; }

  // Computes the responses of a tile's boxes and keeps them in scratch memory.
  void respond(const Tile& tile, const T* image, const PrefetchQueue& prefetchers) const {
    for_each_box(tile, image, prefetchers, [&](Index i, const V* plane) {
      respond(tile, box(tile, i), plane, responses_ + i * plane_stride_);
    });
  }

  // Computes the responses of a tile's boxes, in groups of rows (plane_windows.h): box i of the
  // tile sets the groups of the plane at responses + i * stride. The strides of the problem are 1.
  void respond_in_groups(const Tile& tile, const T* image, const PrefetchQueue& prefetchers,
                         V* responses, Index stride) const {
    for_each_box(tile, image, prefetchers, [&](Index i, const V* plane) {
      respond_in_groups(tile, box(tile, i), plane, responses + i * stride);
    });
  }

  void store_responses(const Tile& tile, T* image) const {
    for (Index row = 0; row < tile.rows.count; ++row) {
      store_row(output_shape(p_), responses_ + row * row_stride_, plane_stride_,
                tile.rows.first + row, tile.columns, out_channels(p_, tile), image);
    }
  }

 private:
  // Loads the planes of a tile's channels and calls call(i, plane) for each box i.
  template <typename Call>
  void for_each_box(const Tile& tile, const T* image, const PrefetchQueue& prefetchers,
                    const Call& call) const {
    prefetcher_ = Prefetcher();
    load_planes(input_shape(p_), image, tile.source_rows, tile.source_columns, tile.channels,
                planes_, row_stride_, plane_stride_);
    for (Index c = 0; c < tile.channels.count; ++c) {
      prefetchers.start(c, tile.channels.count, &prefetcher_);
      for (Index m = 0; m < p_.boxes_per_channel; ++m) {
        call(c * p_.boxes_per_channel + m, planes_ + c * plane_stride_);
      }
    }
  }

  // Box i of a tile, counted over all its channels.
  BoxEdges box(const Tile& tile, Index i) const {
    return box_edges(boxes_ + (out_channels(p_, tile).first + i) * 4);
  }

  void respond(const Tile& tile, const BoxEdges& box, const V* plane, V* responses) const {
    if (box.empty) {
      clear(responses, tile.rows.count * row_stride_);
      return;
    }
    sum_box(tile, box, plane, [&](Index row, Index lines, const auto& sum_rows) {
      sum_rows(row_group_sums_);
      group_to_rows(row_group_sums_, lines * p_.stride_x, padded_width(tile.columns.count),
                    responses + row * row_stride_, row_stride_, lines);
    });
    if (p_.normalization == Normalization::kValid) {
      apply_valid_factors(p_, box, tile.rows, tile.columns, p_.stride_y, p_.stride_x, factors_,
                          responses, row_stride_);
    }
  }

  void respond_in_groups(const Tile& tile, const BoxEdges& box, const V* plane,
                         V* responses) const {
    if (box.empty) {
      clear(responses, round_up(tile.rows.count, kGroupRows<V>) * tile.columns.count);
      return;
    }
    sum_box(tile, box, plane, [&](Index row, Index, const auto& sum_rows) {
      sum_rows(responses + row * tile.columns.count);
    });
  }

  // Computes the sums over a box and calls call(row, lines, sum_rows) for each group of rows;
  // sum_rows(group) sets the sums of that group.
  template <typename Call>
  void sum_box(const Tile& tile, const BoxEdges& box, const V* plane, const Call& call) const {
    // Even with strides above 1, sums are computed at every pixel from the first to the last
    // output.
    const Index sum_rows = (tile.rows.count - 1) * p_.stride_y + 1;
    const Index sum_columns = (tile.columns.count - 1) * p_.stride_x + 1;
    const PlaneWindows<V> windows(suffix_sums_, &prefetcher_);
    const Index width = padded_width(tile.source_columns.count);
    const Index y = tile.rows.first * p_.stride_y - tile.source_rows.first;
    const Index x = tile.columns.first * p_.stride_x - tile.source_columns.first;
    const auto column_window = sliding_window<V>(shifted(box.top, y), shifted(box.bottom, y), 1.0,
                                                 max_index(tile.source_rows.count, sum_rows));
    const auto row_window =
        sliding_window<V>(shifted(box.left, x), shifted(box.right, x), common_factor<V>(p_, box),
                          max_index(tile.source_columns.count, sum_columns));
    windows.down(column_window, plane, row_stride_, tile.source_rows.count, width, column_sums_,
                 sum_rows);
    for (Index row = 0; row < tile.rows.count; row += kGroupRows<V>) {
      const Index lines = group_lines<V>(row, tile.rows.count);
      rows_to_group(column_sums_ + row * p_.stride_y * row_stride_, p_.stride_y * row_stride_,
                    tile.rows.count - row, width, row_group_, lines);
      call(row, lines, [&](V* group) {
        windows.along(row_window, row_group_, lines, tile.source_columns.count, group, sum_columns);
      });
    }
  }

  const BoxConvProblem& p_;
  const TBox* boxes_;
  const Index row_stride_;
  Index plane_stride_;
  Scratch scratch_;
  bool ok_;
  mutable Prefetcher prefetcher_;
  V *planes_, *responses_, *column_sums_, *row_group_, *row_group_sums_, *suffix_sums_, *factors_;
};

template <typename T, typename TBox>
bool forward_tiles(const BoxConvProblem& p, const Tiling& tiling, const T* input, const TBox* boxes,
                   T* output, Index begin, Index end) {
  const ForwardKernel<T, TBox> kernel(p, boxes, tiling);
  if (!kernel.ok()) return false;
  const ImageShape in = input_shape(p), out = output_shape(p);
  for (Index i = begin; i < end; ++i) {
    const Tile tile = tiling.at(i), next = tiling.at(min_index(i + 1, end - 1));
    const T* image = input + tile.image * in.size();
    T* result = output + tile.image * out.size();
    // Tiles of neighbouring channels may share cache lines. The first tile of a cache line
    // prefetches the output; the last tile prefetches the input of the next tile.
    PrefetchQueue prefetchers;
    if (begins_cache_line<T>(out_channels(p, tile))) {
      prefetchers.add(
          pixel_prefetcher(out, result, tile.rows, tile.columns, out_channels(p, tile)));
    }
    if (ends_cache_line<T>(tile.channels, p.channels)) {
      prefetchers.add(pixel_prefetcher(in, input + next.image * in.size(), next.source_rows,
                                       next.source_columns, next.channels));
    }
    kernel.respond(tile, image, prefetchers);
    kernel.store_responses(tile, result);
  }
  return true;
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_BOX_CONV_FORWARD_H_
