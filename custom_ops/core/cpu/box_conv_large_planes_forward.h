// The forward pass on large planes. A tile consists of whole rows. It is computed in groups of 16
// rows:
//
//   1. load the rows that come within reach into ring buffers, one for each channel,
//   2. for each box: sum down the columns with running sums (running_sums.h), strip by strip,
//   3. then sum along the rows of those sums (plane_windows.h),
//   4. store the responses.
//
// Every pixel of a tile is read once and takes part in one sum in each direction, however large the
// boxes are. Apart from the ring buffers, only the sums of 16 rows are kept.
#ifndef BOXCONV_CORE_CPU_BOX_CONV_LARGE_PLANES_FORWARD_H_
#define BOXCONV_CORE_CPU_BOX_CONV_LARGE_PLANES_FORWARD_H_

#include <atomic>

#include "core/base/problem.h"
#include "core/cpu/image_rows.h"
#include "core/cpu/plane_windows.h"
#include "core/cpu/row_rings.h"
#include "core/cpu/running_sums.h"
#include "core/cpu/scratch.h"
#include "core/cpu/tiling.h"
#include "core/cpu/valid_extent.h"
#include "core/geometry/box_extent.h"

namespace boxconv {
namespace BOXCONV_ISA {

template <typename T>
class LargePlanesForwardKernel {
 public:
  using V = typename PlaneType<T>::type;

  // Allocates scratch memory for any tile of `tiling` with at most `channels` channels. Check ok()
  // before anything else.
  LargePlanesForwardKernel(const BoxConvProblem& p, const float* boxes, const BoxReach& reach,
                           const Tiling& tiling, Index channels)
      : p_(p), boxes_(boxes), reach_(reach), width_(padded_width(p.width)) {
    const Index planes = channels * p.boxes_per_channel;
    const Index rows = reads_in_place() ? 0 : ring_rows<V>(tiling, reach, p.stride_y);
    response_stride_ = padded_stride(padded_width(p.out_width()));
    const Index group_columns = max_index(width_, padded_width(p.out_width()) * p.stride_x);
    ok_ = scratch_.allocate([&] {
      source_ = RowRings<V>(scratch_.array<V>(RowRings<V>::size(channels, rows, p.width)), channels,
                            rows, p.width, p.height);
      running_sums_ = scratch_.array<double>(planes * RunningSums<V>::size(p.width));
      strip_ = scratch_.array<V>(kGroupRows<V> * p.stride_y * kStrip);
      addresses_ =
          scratch_.array<const V*>(RunningSums<V>::addresses_size(kGroupRows<V> * p.stride_y));
      row_group_ = scratch_.array<V>(kGroupRows<V> * width_);
      row_group_sums_ = scratch_.array<V>(kGroupRows<V> * group_columns);
      suffix_sums_ = scratch_.array<V>(PlaneWindows<V>::suffix_size(p.width));
      responses_ = scratch_.array<V>(planes * kGroupRows<V> * response_stride_);
      factors_ = scratch_.array<V>(padded_width(p.out_width()));
    });
    if (ok_) source_.clear_zeros();
  }
  bool ok() const { return ok_; }

  // Computes the responses of a tile. Returns false if a running sum was too large; the responses
  // are then wrong.
  bool run(const Tile& tile, const T* image, T* result) const {
    const Index boxes = out_channels(p_, tile).count;
    const Index box_stride = kGroupRows<V> * response_stride_;
    clear(running_sums_, boxes * RunningSums<V>::size(p_.width));
    bool ok = true;
    Index loaded = tile.source_rows.first;
    for (Index row = 0; row < tile.rows.count; row += kGroupRows<V>) {
      const Span group{tile.rows.first + row, min_index(kGroupRows<V>, tile.rows.count - row)};
      const Index last = (group.first + group.count - 1) * p_.stride_y;
      const Index end = min_index(last + reach_.bottom + 1, p_.height);
      while (loaded < end) {
        const Span rows = next_rows(loaded, end);
        load(tile, image, rows);
        if (row == 0) start(tile, image, rows);
        loaded += rows.count;
      }
      for (Index i = 0; i < boxes; ++i) {
        ok &= respond(tile, image, group, i, responses_ + i * box_stride);
      }
      for (Index i = 0; i < group.count; ++i) {
        store_row(output_shape(p_), responses_ + i * response_stride_, box_stride, group.first + i,
                  tile.columns, out_channels(p_, tile), result);
      }
    }
    return ok;
  }

 private:
  // Whether the input already has the type and the layout of planes.
  bool reads_in_place() const {
    return std::is_same<T, V>::value && !input_shape(p_).channels_last();
  }

  // The rows that box i of a tile is convolved with. Boxes are counted over all channels of the
  // tile.
  PlaneRows<V> rows_of(const T* image, const Tile& tile, Index i) const {
    const Index c = i / p_.boxes_per_channel;
    if constexpr (std::is_same<T, V>::value) {
      if (reads_in_place()) {
        return source_.rows_of(image + (tile.channels.first + c) * p_.height * p_.width, p_.width);
      }
    }
    return source_.rows(c);
  }

  // Loads rows of the input, unless they are read in place.
  void load(const Tile& tile, const T* image, Span rows) const {
    if (reads_in_place()) return;
    for (Index i = 0; i < rows.count; ++i) {
      load_row(input_shape(p_), image, rows.first + i, {0, p_.width}, tile.channels,
               source_.row(0, rows.first + i), source_.plane_stride());
    }
  }

  // Adds the given rows to the sums before the first output of a tile.
  void start(const Tile& tile, const T* image, Span rows) const {
    for (Index i = 0; i < out_channels(p_, tile).count; ++i) {
      const BoxEdges box = box_of(tile, i);
      if (box.empty) continue;
      sums_of(box, i).start(rows_of(image, tile, i), tile.rows.first * p_.stride_y, rows.first,
                            rows.first + rows.count);
    }
  }

  RunningSums<V> sums_of(const BoxEdges& box, Index i) const {
    return RunningSums<V>(sliding_window<V>(box.top, box.bottom, 1.0, p_.height), p_.width,
                          running_sums_ + i * RunningSums<V>::size(p_.width));
  }
  BoxEdges box_of(const Tile& tile, Index i) const {
    return box_edges(boxes_ + (out_channels(p_, tile).first + i) * 4);
  }

  // Computes the responses of box i of a tile at a group of rows. Returns false if a running sum
  // was too large.
  bool respond(const Tile& tile, const T* image, Span group, Index i, V* responses) const {
    const BoxEdges box = box_of(tile, i);
    if (box.empty) {
      clear(responses, kGroupRows<V> * response_stride_);
      return true;
    }
    // Sums are computed at every row, from the row after the last output of the group before.
    const Index output = group.first * p_.stride_y;
    const Index begin = group.first == tile.rows.first ? output : output - p_.stride_y + 1;
    const Index count = output + (group.count - 1) * p_.stride_y + 1 - begin;
    const Index lines = group_lines<V>(0, group.count);
    RunningSums<V> sums = sums_of(box, i);
    sums.set_rows(rows_of(image, tile, i), begin, count, addresses_);
    bool ok = true;
    for (Index strip = 0; strip < strips_of(p_.width); ++strip) {
      ok &= sums.slide(strip, strip_);
      rows_to_group(strip_ + (output - begin) * kStrip, p_.stride_y * kStrip, group.count, kStrip,
                    row_group_ + strip_begin(strip, p_.width) * lines, lines);
    }
    const auto row_window =
        sliding_window<V>(box.left, box.right, common_factor<V>(p_, box), p_.width);
    PlaneWindows<V>(suffix_sums_, &prefetcher_)
        .along(row_window, row_group_, lines, p_.width, row_group_sums_,
               (p_.out_width() - 1) * p_.stride_x + 1);
    group_to_rows(row_group_sums_, lines * p_.stride_x, padded_width(p_.out_width()), responses,
                  response_stride_, lines);
    if (p_.normalization == Normalization::kValid) {
      apply_valid_factors(p_, box, group, tile.columns, p_.stride_y, p_.stride_x, factors_,
                          responses, response_stride_);
    }
    return ok;
  }

  const BoxConvProblem& p_;
  const float* boxes_;
  const BoxReach reach_;
  const Index width_;
  Index response_stride_;
  Scratch scratch_;
  bool ok_;
  mutable Prefetcher prefetcher_;
  RowRings<V> source_;
  double* running_sums_;
  const V** addresses_;
  V *strip_, *row_group_, *row_group_sums_, *suffix_sums_, *responses_, *factors_;
};

// Sets *ok to false if the results are wrong because a running sum was too large.
template <typename T>
bool large_planes_forward(const BoxConvProblem& p, const BoxReach& reach, const Tiling& tiling,
                          const T* input, const float* boxes, T* output, std::atomic<bool>* ok,
                          Index begin, Index end) {
  const LargePlanesForwardKernel<T> kernel(p, boxes, reach, tiling,
                                           tiling.max_joined_channels(end - begin));
  if (!kernel.ok()) return false;
  for (Index i = begin, joined; i < end; i += joined) {
    joined = tiling.joined(i, end);
    const Tile tile = tiling.at(i, joined);
    if (!kernel.run(tile, input + tile.image * input_shape(p).size(),
                    output + tile.image * output_shape(p).size())) {
      *ok = false;
    }
  }
  return true;
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_BOX_CONV_LARGE_PLANES_FORWARD_H_
