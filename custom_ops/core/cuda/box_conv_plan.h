// Chooses the kernels, blocks and workspace for a problem on a GPU, in plain host code. The plan
// depends only on shapes, because the boxes are in device memory.
//
// There are three kinds of plans:
//
// Fused: a block loads the whole planes of a few channels of an image into shared memory. The input
// is read once and the output written once.
//
// Tiled: for planes that do not fit in shared memory. One kernel sums strips of whole columns and
// writes the sums to the workspace; a second kernel sums these along strips of whole rows. Both run
// for a few planes (a chunk) at a time, so that the workspace stays in the second-level cache.
// Device memory is then still read once and written once.
//
// By lines: for lines that are too long for the registers of a warp. The same two steps, but each
// thread sums its own line. This reads the input twice, and writes and reads suffix sums.
#ifndef BOXCONV_CORE_CUDA_BOX_CONV_PLAN_H_
#define BOXCONV_CORE_CUDA_BOX_CONV_PLAN_H_

#include "core/base/platform.h"
#include "core/base/problem.h"

namespace boxconv {
namespace cuda {

// Pixels that a thread loads at once along a line, which hides the latency of the loads. Doubles
// take twice the registers.
template <typename T>
constexpr int kSteps = sizeof(T) > 4 ? 4 : 8;

// Pixels of a line in each lane. Odd, to avoid bank conflicts.
template <typename V>
constexpr int kChunk = sizeof(V) > 4 ? 17 : 33;
// The longest line that a warp can hold: one pixel must be left over.
template <typename V>
constexpr Index kLongestLine = 32 * kChunk<V> - 1;

// By lines: rows of a column that a thread sums, or the height of the window if that is more.
constexpr int kSegmentRows = 64;

// Shared memory for a thread's contribution to the edge gradients of a box.
constexpr int kEdgeSumBytes = 4 * sizeof(double);
// The most that a thread loads or stores at once.
constexpr int kPacketBytes = 16;

// The properties of a device that plans depend on. Tests set smaller limits.
struct GpuLimits {
  int shared_bytes = 48 << 10;   // shared memory available to a block
  int reserved_bytes = 1 << 10;  // additional shared memory that the system takes for each block
  int max_threads = 512;         // per block; a power of two, at least 32
  int max_blocks = 1 << 20;      // per launch; blocks loop over the remaining units
  Index chunk_bytes = Index{16} << 20;  // column sums in the workspace
  Index parts = 2048;                   // blocks that fill the device
  Index longest_line = Index{1} << 20;  // in a tile; longer lines are summed by lines

  // Shared memory available to each of two blocks on a multiprocessor.
  int half_of_shared_bytes() const { return (shared_bytes - reserved_bytes) / 2; }
};

// A tile in a block's shared memory: the byte offset of each array. The planes come first.
struct TilePlan {
  int rows = 0, columns = 0;  // at most
  int row_stride = 0;         // pixels from row to row; odd, to avoid bank conflicts
  int added = 0;              // backward, several boxes: sum of their input gradients
  int input = 0;              // backward: the input, in its own type
  int windows = 0;            // the windows of each channel
  int end = 0;                // 0 if the tile does not fit
};

struct BoxConvPlan {
  BoxConvProblem problem;
  int group = 1;     // channels of a block, a power of two
  int lanes = 32;    // threads of each channel, a power of two
  Index groups = 0;  // channel groups of an image
  TilePlan fused, column_tile, row_tile;
  // Fused, backward: the number of blocks that share the images of a channel group.
  Index parts = 1;
  // Tiled and by lines: the number of units whose sums are in the workspace at the same time, and
  // whether the input gradients of several boxes are added up in the workspace.
  Index chunk = 1;
  bool sum_in_workspace = false;
  // By lines:
  int row_stride = 0;          // pixels from row to row; odd, to avoid bank conflicts
  int strip_rows = 1;          // rows that a block sums
  bool rows_in_shared = true;  // false if not even one row fits in shared memory
  int shared_bytes = 0;        // for the rows
  int stage_begin = 0;         // offset of the transposition buffers behind the rows, in values

  BOXCONV_HOST_DEVICE bool channels_last() const { return problem.layout == Layout::kChannelsLast; }
  BOXCONV_HOST_DEVICE bool is_fused() const { return fused.end > 0; }
  BOXCONV_HOST_DEVICE bool is_tiled() const { return row_tile.end > 0; }
  // Whether buffers hold one plane after another, and neighbouring threads take neighbouring
  // pixels. Otherwise both interleave the channels.
  BOXCONV_HOST_DEVICE bool is_planar() const {
    return is_fused() || is_tiled() || !channels_last();
  }
  BOXCONV_HOST_DEVICE int threads() const { return group * lanes; }
  // Shared memory for the sum of edge gradients over the threads of a block.
  BOXCONV_HOST_DEVICE int edge_sum_bytes() const { return threads() * kEdgeSumBytes; }
  // A unit of work is a group of channels of one image.
  BOXCONV_HOST_DEVICE Index units() const { return problem.batch * groups; }
  BOXCONV_HOST_DEVICE Index column_strips() const {
    const Index columns = is_tiled() ? column_tile.columns : lanes;
    return (problem.width + columns - 1) / columns;
  }
  BOXCONV_HOST_DEVICE Index segments() const {
    if (is_tiled()) return 1;
    return (problem.height + kSegmentRows - 1) / kSegmentRows;
  }
  // Strips of `rows` rows: of the output in the forward pass, of the plane in the backward pass.
  BOXCONV_HOST_DEVICE Index row_strips(Index rows) const {
    const int of_strip = is_tiled() ? row_tile.rows : strip_rows;
    return (rows + of_strip - 1) / of_strip;
  }
  // Column sums of a unit in the workspace.
  BOXCONV_HOST_DEVICE Index unit_size() const { return problem.height * problem.width * group; }
  // Partial edge gradients that are stored for each unit, then summed in a fixed order.
  BOXCONV_HOST_DEVICE Index partials_per_unit() const {
    if (is_fused()) return 1;
    const Index columns = column_strips() * segments(), rows = row_strips(problem.height);
    return columns > rows ? columns : rows;
  }
};

namespace plan_detail {

// The smallest power of two that is at least `value`, but at most `max`, itself a power of two.
inline int power_of_two_at_least(Index value, int max) {
  int power = 1;
  while (power < value && power < max) power *= 2;
  return power;
}

template <typename T, typename V>
class Planner {
 public:
  Planner(const BoxConvProblem& problem, const GpuLimits& limits, bool backward)
      : limits_(limits), backward_(backward) {
    plan_.problem = problem;
    // With one channel both layouts are the same. Neighbouring threads then take neighbouring
    // pixels.
    if (problem.channels == 1 && problem.boxes_per_channel == 1) {
      plan_.problem.layout = Layout::kChannelsFirst;
    }
    plan_.row_stride = static_cast<int>(problem.width | 1);
    if (!plan_fused() && !plan_tiled()) plan_lines();
    plan_.groups = (problem.channels + plan_.group - 1) / plan_.group;
    const Index groups = plan_.groups > 1 ? plan_.groups : 1;
    const Index share = (limits.parts + groups - 1) / groups;
    plan_.parts = problem.batch < share ? problem.batch : share;
    plan_chunk();
  }

  const BoxConvPlan& plan() const { return plan_; }

 private:
  static constexpr int kSectorChannels = 32 / sizeof(T);

  // By lines, channels first: shared memory for the transposition buffers of the warps.
  Index stage_bytes() const {
    if (plan_.channels_last()) return 0;
    return Index{plan_.threads()} * (kSteps<T> + 1) * static_cast<Index>(sizeof(V));
  }
  // The planes' memory is reused to sum edge gradients over the threads of the block.
  Index plane_bytes(Index rows) const {
    const Index planes = rows * row_bytes();
    const Index sums = backward_ ? plan_.edge_sum_bytes() : 0;
    return planes > sums ? planes : sums;
  }
  void set_shared_bytes(Index rows) {
    plan_.stage_begin = static_cast<int>(plane_bytes(rows) / static_cast<Index>(sizeof(V)));
    plan_.shared_bytes = static_cast<int>(plane_bytes(rows) + stage_bytes());
  }
  Index row_bytes() const {
    return Index{plan_.group} * plan_.row_stride * static_cast<Index>(sizeof(V));
  }
  bool fits(Index rows, Index bytes) const {
    // The first two tests keep the product in plane_bytes() from overflowing.
    return rows <= limits_.shared_bytes && row_bytes() <= limits_.shared_bytes &&
           plane_bytes(rows) + stage_bytes() <= bytes;
  }

  // The layout of a tile in shared memory. `end` is 0 if it does not fit.
  TilePlan tile(int group, Index rows, Index columns, int threads, bool adds) const {
    if (rows > kLongestLine<V> || columns > kLongestLine<V>) return {};
    if (rows > limits_.longest_line || columns > limits_.longest_line) return {};
    // Divisor needs 16-bit positions.
    if (group * rows * columns + 4 * limits_.max_threads > 0xffff) return {};
    const auto rounded = [](Index bytes) { return (bytes + 7) / 8 * 8; };
    const Index row_stride = columns | 1, values = group * rows * row_stride;
    const Index planes = rounded(values * static_cast<Index>(sizeof(V)));
    const Index sums = backward_ ? Index{threads} * kEdgeSumBytes : 0;
    const Index added = planes > sums ? planes : sums;
    const Index input = added + (adds ? planes : 0);
    const Index windows = input + (backward_ ? rounded(values * static_cast<Index>(sizeof(T))) : 0);
    // Two windows for each channel, of three positions and three weights.
    const Index end = windows + 2 * group * rounded(Index{3 * sizeof(int) + 3 * sizeof(V)});
    if (end > limits_.shared_bytes) return {};
    return {static_cast<int>(rows),  static_cast<int>(columns), static_cast<int>(row_stride),
            static_cast<int>(added), static_cast<int>(input),   static_cast<int>(windows),
            static_cast<int>(end)};
  }

  // Threads of a block with this much shared memory. The kernels' registers limit a multiprocessor
  // to about 512 threads, which run faster in several blocks than in one.
  int tile_threads(int bytes) const {
    const int blocks =
        (limits_.shared_bytes + limits_.reserved_bytes) / (bytes + limits_.reserved_bytes);
    int threads = 32;
    while (threads * 2 <= limits_.max_threads && threads * 2 * blocks <= 768) threads *= 2;
    return threads;
  }

  bool plan_fused() {
    const BoxConvProblem& p = plan_.problem;
    // Channels last, a group has at least a whole packet. Small planes share a block.
    const int packet = plan_.channels_last() ? kPacketBytes / static_cast<int>(sizeof(T)) : 1;
    const int most = power_of_two_at_least(p.channels, plan_.channels_last() ? kSectorChannels : 8);
    const int least = most < packet ? most : packet;
    const bool adds = backward_ && p.boxes_per_channel > 1;
    for (int group = most; group >= least; group /= 2) {
      const int bytes = tile(group, p.height, p.width, 0, adds).end;
      if (bytes == 0 || (group > least && bytes > limits_.shared_bytes / 4)) continue;
      const int threads = tile_threads(bytes);
      const TilePlan fused = tile(group, p.height, p.width, threads, adds);
      if (fused.end == 0 || group > threads) continue;
      plan_.group = group;
      plan_.lanes = threads / group;
      plan_.fused = fused;
      return true;
    }
    return false;
  }

  // The tile with the most lines, a power of two, that leaves room for a second block.
  template <typename Make>
  TilePlan largest_tile(Index lines, const Make& make) const {
    for (int count = power_of_two_at_least(lines, 64); count >= 1; count /= 2) {
      const TilePlan made = make(count);
      if (made.end > 0 && (made.end <= limits_.half_of_shared_bytes() || count == 1)) return made;
    }
    return {};
  }

  bool plan_tiled() {
    const BoxConvProblem& p = plan_.problem;
    const int most = power_of_two_at_least(p.channels, plan_.channels_last() ? kSectorChannels : 1);
    const int threads = limits_.max_threads < 256 ? limits_.max_threads : 256;
    for (int group = most < threads ? most : threads; group >= 1; group /= 2) {
      const TilePlan columns = largest_tile(
          p.width, [&](int count) { return tile(group, p.height, count, threads, false); });
      const TilePlan rows = largest_tile(
          p.height, [&](int count) { return tile(group, count, p.width, threads, false); });
      if (columns.end == 0 || rows.end == 0) continue;
      plan_.group = group;
      plan_.lanes = threads / group;
      plan_.column_tile = columns;
      plan_.row_tile = rows;
      plan_.sum_in_workspace = backward_ && p.boxes_per_channel > 1;
      return true;
    }
    return false;
  }

  void plan_lines() {
    const BoxConvProblem& p = plan_.problem;
    plan_.sum_in_workspace = backward_ && sizeof(T) < sizeof(V) && p.boxes_per_channel > 1;
    const int most = plan_.channels_last() ? kSectorChannels : 1;
    plan_.group = power_of_two_at_least(p.channels, most);
    plan_.lanes = (plan_.channels_last() ? 256 : 128) / plan_.group;
    while (plan_.threads() > limits_.max_threads && plan_.lanes > 1) plan_.lanes /= 2;
    // One row for each lane if that leaves room for a second block, otherwise fewer.
    int rows = plan_.lanes;
    while (rows > 1 && !fits(rows, limits_.half_of_shared_bytes())) rows /= 2;
    plan_.rows_in_shared = fits(rows, limits_.shared_bytes);
    plan_.strip_rows = plan_.rows_in_shared ? rows : plan_.lanes;
    set_shared_bytes(plan_.rows_in_shared ? rows : 0);
  }

  void plan_chunk() {
    if (plan_.is_fused()) return;
    const Index bytes = plan_.unit_size() * static_cast<Index>(sizeof(V));
    const Index fitting = bytes > 0 ? limits_.chunk_bytes / bytes : 1, units = plan_.units();
    plan_.chunk = fitting < 1 ? 1 : (fitting < units ? fitting : units);
  }

  BoxConvPlan plan_;
  const GpuLimits& limits_;
  const bool backward_;
};

}  // namespace plan_detail

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_BOX_CONV_PLAN_H_
