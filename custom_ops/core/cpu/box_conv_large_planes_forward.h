// The forward pass on large planes. A tile consists of whole rows and is computed in steps of some
// rows. First, threads share the rows:
//
//   1. store the responses of the step before,
//   2. load the rows that come within reach into ring buffers, one for each channel.
//
// Then threads share the channels. For each box, and each group of 16 rows:
//
//   3. sum down the columns with running sums (running_sums.h), strip by strip,
//   4. sum along the rows of those sums (plane_windows.h).
//
// Every pixel of a tile is read once and takes part in one sum in each direction, however large the
// boxes are. Apart from the ring buffers, only the responses of one step are kept.
#ifndef BOXCONV_CORE_CPU_BOX_CONV_LARGE_PLANES_FORWARD_H_
#define BOXCONV_CORE_CPU_BOX_CONV_LARGE_PLANES_FORWARD_H_

#include <atomic>

#include "core/base/problem.h"
#include "core/cpu/image_rows.h"
#include "core/cpu/large_planes.h"
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

  LargePlanesForwardKernel(const LargeTile& t, const float* boxes)
      : p_(t.problem),
        reach_(t.reach),
        tile_(t.tile),
        step_rows_(t.plan.step_rows),
        boxes_(boxes),
        width_(padded_width(p_.width)),
        response_stride_(padded_stride(padded_width(p_.out_width()))) {
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
  void run_rows(const TileStep& step, const T* image, T* result, Index begin, Index end) const {
    for (Index i = begin; i < min_index(end, step.stored.count); ++i) {
      store_row(output_shape(p_), responses_ + i * response_stride_, box_stride(),
                step.stored.first + i, tile_.columns, out_channels(p_, tile_), result);
    }
    if (reads_in_place()) return;
    for (Index i = begin; i < min_index(end, step.loaded.count); ++i) {
      load_row(input_shape(p_), image, step.loaded.first + i, {0, p_.width}, tile_.channels,
               source_.row(0, step.loaded.first + i), source_.plane_stride());
    }
  }

  // Allocates the scratch memory that run_channel() needs. Returns false if there is not enough.
  bool allocate_scratch() {
    const Index group_columns = max_index(width_, padded_width(p_.out_width()) * p_.stride_x);
    const bool ok = scratch_.allocate([&] {
      zeros_ = scratch_.array<V>(width_);
      strip_ = scratch_.array<V>(kGroupRows<V> * p_.stride_y * kStrip);
      addresses_ =
          scratch_.array<const V*>(RunningSums<V>::addresses_size(kGroupRows<V> * p_.stride_y));
      row_group_ = scratch_.array<V>(kGroupRows<V> * width_);
      row_group_sums_ = scratch_.array<V>(kGroupRows<V> * group_columns);
      suffix_sums_ = scratch_.array<V>(PlaneWindows<V>::suffix_size(p_.width));
      factors_ = scratch_.array<V>(padded_width(p_.out_width()));
    });
    if (ok) clear(zeros_, width_);
    return ok;
  }

  // The second phase of a step, for channel c of the tile. Returns false if a running sum was too
  // large; the responses are then wrong.
  bool run_channel(const TileStep& step, const T* image, Index c) const {
    bool ok = true;
    for (Index i = c * p_.boxes_per_channel; i < (c + 1) * p_.boxes_per_channel; ++i) {
      if (step.is_first) start(image, step.loaded, i);
      for (Index row = 0; row < step.computed.count; row += kGroupRows<V>) {
        const Span group{step.computed.first + row,
                         min_index(kGroupRows<V>, step.computed.count - row)};
        ok &= respond(image, group, i, responses_ + i * box_stride() + row * response_stride_);
      }
    }
    return ok;
  }

 private:
  // Whether the input already has the type and the layout of planes.
  bool reads_in_place() const {
    return std::is_same<T, V>::value && !input_shape(p_).channels_last();
  }

  // Sets the arrays that the phases share: for each channel the rows within reach, for each box the
  // running sums and the responses of a step.
  void set_shared_arrays(const Tiling& tiling, MemoryLayout* memory) {
    const Index channels = tiling.channels_per_tile(), planes = channels * p_.boxes_per_channel;
    const Index rows = reads_in_place() ? 0 : ring_rows(tiling, reach_, step_rows_, p_.stride_y);
    source_ = RowRings<V>(memory->array<V>(RowRings<V>::size(channels, rows, p_.width)), rows,
                          p_.width, p_.height);
    running_sums_ = memory->array<double>(planes * RunningSums<V>::size(p_.width));
    responses_ = memory->array<V>(planes * box_stride());
  }
  // Between the responses of neighbouring boxes.
  Index box_stride() const { return step_rows_ * response_stride_; }

  // The rows that box i is convolved with. Boxes are counted over all channels of the tile.
  PlaneRows<V> rows_of(const T* image, Index i) const {
    const Index c = i / p_.boxes_per_channel;
    if constexpr (std::is_same<T, V>::value) {
      if (reads_in_place()) {
        return {image + (tile_.channels.first + c) * p_.height * p_.width, p_.width, p_.height,
                p_.height, zeros_};
      }
    }
    return source_.rows(c, zeros_);
  }

  // Adds the rows `loaded` to the sums of box i before the first output of the tile.
  void start(const T* image, Span loaded, Index i) const {
    const BoxEdges box = box_of(i);
    if (box.empty) return;
    const RunningSums<V> sums = sums_of(box, i);
    sums.clear();
    sums.start(rows_of(image, i), tile_.rows.first * p_.stride_y, loaded.first,
               loaded.first + loaded.count);
  }

  RunningSums<V> sums_of(const BoxEdges& box, Index i) const {
    return RunningSums<V>(sliding_window<V>(box.top, box.bottom, 1.0, p_.height), p_.width,
                          running_sums_ + i * RunningSums<V>::size(p_.width));
  }
  BoxEdges box_of(Index i) const {
    return box_edges(boxes_ + (out_channels(p_, tile_).first + i) * 4);
  }

  // Computes the responses of box i at a group of rows. Returns false if a running sum was too
  // large.
  bool respond(const T* image, Span group, Index i, V* responses) const {
    const BoxEdges box = box_of(i);
    if (box.empty) {
      clear(responses, kGroupRows<V> * response_stride_);
      return true;
    }
    // Sums are computed at every row, from the row after the last output of the group before.
    const Index output = group.first * p_.stride_y;
    const Index begin = group.first == tile_.rows.first ? output : output - p_.stride_y + 1;
    const Index count = output + (group.count - 1) * p_.stride_y + 1 - begin;
    const Index lines = group_lines<V>(0, group.count);
    RunningSums<V> sums = sums_of(box, i);
    sums.set_rows(rows_of(image, i), begin, count, addresses_);
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
      apply_valid_factors(p_, box, group, tile_.columns, p_.stride_y, p_.stride_x, factors_,
                          responses, response_stride_);
    }
    return ok;
  }

  const BoxConvProblem& p_;
  const BoxReach& reach_;
  const Tile tile_;
  const Index step_rows_;
  const float* const boxes_;
  const Index width_, response_stride_;
  mutable Prefetcher prefetcher_;
  // Shared by the phases.
  RowRings<V> source_;
  double* running_sums_;
  V* responses_;
  // Of one thread in the second phase.
  Scratch scratch_;
  const V** addresses_;
  V *zeros_, *strip_, *row_group_, *row_group_sums_, *suffix_sums_, *factors_;
};

template <typename T>
Index large_planes_forward_bytes(const LargeTile& t) {
  return LargePlanesForwardKernel<T>(t, nullptr).shared_bytes(t.plan.tiling);
}

template <typename T>
void large_planes_forward_rows(const LargeTile& t, const TileStep& step, const T* image, T* result,
                               Index begin, Index end) {
  LargePlanesForwardKernel<T>(t, nullptr).run_rows(step, image, result, begin, end);
}

template <typename T>
bool large_planes_forward_channels(const LargeTile& t, const TileStep& step, const T* image,
                                   const float* boxes, std::atomic<bool>* ok, Index begin,
                                   Index end) {
  LargePlanesForwardKernel<T> kernel(t, boxes);
  if (!kernel.allocate_scratch()) return false;
  for (Index c = begin; c < end; ++c) {
    if (!kernel.run_channel(step, image, c)) *ok = false;
  }
  return true;
}

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_BOX_CONV_LARGE_PLANES_FORWARD_H_
