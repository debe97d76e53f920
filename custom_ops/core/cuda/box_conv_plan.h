// How a problem is cut for a GPU: which kernels, blocks and workspace. Plain host code, decided
// from shapes alone, since boxes stay on the device.
//
// Fused: a block takes the whole planes of a few channels of an image into shared memory. The
// tensor is read, and the output written, once.
//
// Tiled: larger planes go through a workspace of column sums, a chunk of planes at a time, small
// enough to stay in the second-level cache: strips of whole columns first, then strips of whole
// rows. Traffic to the cache is a read of the input, a write and a read of column sums, and a write
// of the output; traffic to memory one read and one write, as far as the chunk stays cached.
//
// By lines, where a line is longer than a warp holds: the same workspace, a thread to a line.
// Traffic to the cache has a second read of the input, and a write and a read of suffix sums,
// besides.
#ifndef BOXCONV_CORE_CUDA_BOX_CONV_PLAN_H_
#define BOXCONV_CORE_CUDA_BOX_CONV_PLAN_H_

#include "core/base/platform.h"
#include "core/base/problem.h"

namespace boxconv {
namespace cuda {

// Steps along a line that a thread takes at once, for images of type T: loads that do not wait for
// one another. Twice as many double ones would not fit in registers.
template <typename T>
constexpr int kSteps = sizeof(T) > 4 ? 4 : 8;

// Pixels of a line in a tile that a lane has, for planes of V: odd, against bank
// conflicts.
template <typename V>
constexpr int kChunk = sizeof(V) > 4 ? 17 : 33;
// A warp has a line, with a pixel to spare.
template <typename V>
constexpr Index kLongestLine = 32 * kChunk<V> - 1;

// Rows that a thread of the kernels by lines does of a column, if windows are no higher.
constexpr int kSegmentRows = 64;

// Shared memory for a thread's part of the gradients of a box's edges.
constexpr int kEdgeSumBytes = 4 * sizeof(double);
// The most that a thread loads or stores at once.
constexpr int kPacketBytes = 16;

// What plans depend on of a device.
struct GpuLimits {
  int shared_bytes = 48 << 10;   // of a block, opted in to: all that there is but for what follows
  int reserved_bytes = 1 << 10;  // of each block, by the system
  int max_threads = 512;         // of a block, a power of two from 32
  int max_blocks = 1 << 20;      // of a launch; kernels loop over more units than that
  Index chunk_bytes = Index{16} << 20;
  Index parts = 2048;  // blocks of the fused backward kernel that suffice to fill the device
  Index longest_line = Index{1} << 20;  // that warps sum, if they can: tests have shorter ones

  // Of a block where two share a multiprocessor.
  int half_of_shared_bytes() const { return (shared_bytes - reserved_bytes) / 2; }
};

// Shared memory of a block of planes' regions: planes first, and what else there is, where, in
// bytes.
struct TilePlan {
  int rows = 0, columns = 0;  // of a region, at most
  int row_step = 0;           // pixels from row to row: odd, against bank conflicts
  int added = 0;              // backward, of several boxes: the sum of their input gradients
  int input = 0;              // backward: the input, in its own type
  int windows = 0;            // of each channel
  int end = 0;                // zero: does not fit
};

struct BoxConvPlan {
  BoxConvProblem problem;
  int group = 1;     // channels of a block, a power of two
  int lanes = 32;    // threads of each channel, a power of two
  Index groups = 0;  // of an image
  TilePlan fused, column_tile, row_tile;
  Index parts = 1;  // fused backward: blocks that share the images of a group
  Index chunk = 1;  // others: units whose sums are in the workspace at a time
  // Others: whether input gradients of several boxes add up in the workspace.
  bool accumulate_apart = false;
  // By lines:
  int row_step = 0;            // as of tiles
  int strip_rows = 1;          // rows summed by a block
  bool rows_in_shared = true;  // false where not even one row fits
  int shared_bytes = 0;        // for rows
  int stage_begin = 0;         // where in it, in values of planes, the transposing stages lie

  BOXCONV_HOST_DEVICE bool channels_last() const { return problem.layout == Layout::kChannelsLast; }
  BOXCONV_HOST_DEVICE bool is_fused() const { return fused.end > 0; }
  BOXCONV_HOST_DEVICE bool is_tiled() const { return row_tile.end > 0; }
  // Whether planes lie side by side in buffers, and neighbouring threads have neighbouring pixels;
  // otherwise it is the channels of a pixel. By lines, a warp has one channel then.
  BOXCONV_HOST_DEVICE bool is_planar() const {
    return is_fused() || is_tiled() || !channels_last();
  }
  BOXCONV_HOST_DEVICE int threads() const { return group * lanes; }
  // Shared memory in which a block sums its threads' edge gradients.
  BOXCONV_HOST_DEVICE int edge_sum_bytes() const { return threads() * kEdgeSumBytes; }
  // A unit is a group of channels of an image.
  BOXCONV_HOST_DEVICE Index units() const { return problem.batch * groups; }
  BOXCONV_HOST_DEVICE Index column_strips() const {
    const Index columns = is_tiled() ? column_tile.columns : lanes;
    return (problem.width + columns - 1) / columns;
  }
  BOXCONV_HOST_DEVICE Index segments() const {
    if (is_tiled()) return 1;
    return (problem.height + kSegmentRows - 1) / kSegmentRows;
  }
  // Strips of the rows that are summed: the output's, or, backward, all.
  BOXCONV_HOST_DEVICE Index row_strips(Index rows) const {
    const int of_strip = is_tiled() ? row_tile.rows : strip_rows;
    return (rows + of_strip - 1) / of_strip;
  }
  // Values of the column sums of a unit in the workspace.
  BOXCONV_HOST_DEVICE Index unit_size() const { return problem.height * problem.width * group; }
  // Where edge gradients are kept apart until they are summed in order.
  BOXCONV_HOST_DEVICE Index slots_per_unit() const {
    if (is_fused()) return 1;
    const Index columns = column_strips() * segments(), rows = row_strips(problem.height);
    return columns > rows ? columns : rows;
  }
};

namespace plan_detail {

inline int power_of_two_from(Index value, int most) {
  int power = 1;
  while (power < value && power < most) power *= 2;
  return power;
}

template <typename T, typename V>
class Planner {
 public:
  Planner(const BoxConvProblem& problem, const GpuLimits& limits, bool backward)
      : limits_(limits), backward_(backward) {
    plan_.problem = problem;
    // The same memory, where threads that are neighbours find pixels that are.
    if (problem.channels == 1 && problem.boxes_per_channel == 1) {
      plan_.problem.layout = Layout::kChannelsFirst;
    }
    plan_.row_step = static_cast<int>(problem.width | 1);
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

  // Shared memory beside the planes: the transposing stages of channels-first warps.
  Index stage_bytes() const {
    if (plan_.channels_last()) return 0;
    return Index{plan_.threads()} * (kSteps<T> + 1) * static_cast<Index>(sizeof(V));
  }
  // Edge gradients are summed over a block's threads in the place of its planes.
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
    return Index{plan_.group} * plan_.row_step * static_cast<Index>(sizeof(V));
  }
  bool fits(Index rows, Index bytes) const {
    // Rows are bounded first: the product below must not overflow.
    return rows <= limits_.shared_bytes && row_bytes() <= limits_.shared_bytes &&
           plane_bytes(rows) + stage_bytes() <= bytes;
  }

  // Where a tile of a group of channels has what, or nothing where it does not fit.
  TilePlan tile(int group, Index rows, Index columns, int threads, bool adds) const {
    if (rows > kLongestLine<V> || columns > kLongestLine<V>) return {};
    if (rows > limits_.longest_line || columns > limits_.longest_line) return {};
    // Threads find their values by numbers of 16 bits.
    if (group * rows * columns + 4 * limits_.max_threads > 0xffff) return {};
    const auto rounded = [](Index bytes) { return (bytes + 7) / 8 * 8; };
    const Index row_step = columns | 1, values = group * rows * row_step;
    const Index planes = rounded(values * static_cast<Index>(sizeof(V)));
    const Index sums = backward_ ? Index{threads} * kEdgeSumBytes : 0;
    const Index added = planes > sums ? planes : sums;
    const Index input = added + (adds ? planes : 0);
    const Index windows = input + (backward_ ? rounded(values * static_cast<Index>(sizeof(T))) : 0);
    // Two windows of three positions and three weights.
    const Index end = windows + 2 * group * rounded(Index{3 * sizeof(int) + 3 * sizeof(V)});
    if (end > limits_.shared_bytes) return {};
    return {static_cast<int>(rows),  static_cast<int>(columns), static_cast<int>(row_step),
            static_cast<int>(added), static_cast<int>(input),   static_cast<int>(windows),
            static_cast<int>(end)};
  }

  // Threads for a block of so many bytes. The kernels' registers leave a multiprocessor 512, better
  // in several blocks than in one.
  int tile_threads(int bytes) const {
    const int blocks =
        (limits_.shared_bytes + limits_.reserved_bytes) / (bytes + limits_.reserved_bytes);
    int threads = 32;
    while (threads * 2 <= limits_.max_threads && threads * 2 * blocks <= 768) threads *= 2;
    return threads;
  }

  bool plan_fused() {
    const BoxConvProblem& p = plan_.problem;
    // Channels last, whole packets; small planes together.
    const int packet = plan_.channels_last() ? kPacketBytes / static_cast<int>(sizeof(T)) : 1;
    const int most = power_of_two_from(p.channels, plan_.channels_last() ? kSectorChannels : 8);
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

  // The tile of the most rows or columns, a power of two, that leaves room for a second block.
  template <typename Make>
  TilePlan largest_tile(Index lines, const Make& make) const {
    for (int count = power_of_two_from(lines, 64); count >= 1; count /= 2) {
      const TilePlan made = make(count);
      if (made.end > 0 && (made.end <= limits_.half_of_shared_bytes() || count == 1)) return made;
    }
    return {};
  }

  bool plan_tiled() {
    const BoxConvProblem& p = plan_.problem;
    const int most = power_of_two_from(p.channels, plan_.channels_last() ? kSectorChannels : 1);
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
      plan_.accumulate_apart = backward_ && p.boxes_per_channel > 1;
      return true;
    }
    return false;
  }

  void plan_lines() {
    const BoxConvProblem& p = plan_.problem;
    plan_.accumulate_apart = backward_ && sizeof(T) < sizeof(V) && p.boxes_per_channel > 1;
    const int most = plan_.channels_last() ? kSectorChannels : 1;
    plan_.group = power_of_two_from(p.channels, most);
    plan_.lanes = (plan_.channels_last() ? 256 : 128) / plan_.group;
    while (plan_.threads() > limits_.max_threads && plan_.lanes > 1) plan_.lanes /= 2;
    // As many rows as have threads, if they leave room for a second block; else what fits.
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
