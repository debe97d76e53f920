// Divides box convolutions into thread blocks, in plain host code. The plan depends only on shapes,
// because the boxes are in device memory.
#ifndef BOXCONV_CORE_CUDA_BOX_CONV_PLAN_H_
#define BOXCONV_CORE_CUDA_BOX_CONV_PLAN_H_

#include <cstddef>

#include "core/base/platform.h"
#include "core/base/problem.h"

namespace boxconv {
namespace cuda {

constexpr int kWords = 32;  // of a tile (box_conv_tile.cuh)
constexpr int kGroup = 8;   // outputs of a group, and pixels of an octet (box_conv_slide.cuh)

// The properties of a device that plans depend on. Tests set smaller limits.
struct GpuLimits {
  int shared_bytes = 48 << 10;          // shared memory available to a block of threads
  int max_threads = 256;                // per block, a multiple of 32
  Index max_blocks = Index{1} << 30;    // per launch; blocks loop over the remaining tiles
  Index resident_blocks = 1024;         // blocks with a tile in the workspace, per launch
  Index chunk_bytes = Index{16} << 20;  // sums in the workspace, which stay in the L2 cache
};

// 32 bits must be enough for positions in a line and for the stride between two of them. Status has
// the error.
constexpr Index kLongestAxis = Index{1} << 29;
inline bool planes_fit(Index height, Index width, Index channels) {
  return height <= kLongestAxis && width <= kLongestAxis &&
         channels < 2 * kLongestAxis / max_index(max_index(height, width), 1);
}
constexpr char kPlanesTooLarge[] =
    "planes of more than 2^29 rows or columns, or lines of 2^30 values and more";

// A launch of slide_lines. A tile has `lines` lines in the channels of a group.
struct SlidePlan {
  int boxes;                     // of a group
  int group;                     // channels that the source has for these boxes
  int lines;                     // of a tile, so that lines * group <= kWords
  int segments, segment_length;  // of a line, one for each thread; the length is a multiple of 8
  int octets;                    // of a line, eight pixels each
  int threads;
  int products_bytes, shared_bytes;  // of shared memory: for products, and in all
  Index tile_bytes;
  bool in_shared;  // otherwise the tiles are too large for shared memory
};

// Plans lines of `length` pixels that are summed in a type of `value_bytes`. `product_bytes` is
// shared memory for each segment.
inline SlidePlan slide_plan(const GpuLimits& limits, Index length, int boxes, int group,
                            int value_bytes, int product_bytes) {
  constexpr int kMaxSegments = 8, kPixelsOfSegment = 64;
  SlidePlan plan;
  plan.boxes = boxes;
  plan.group = group;
  plan.lines = kWords / group;
  const Index segments = clamp_index(length / kPixelsOfSegment, 1, kMaxSegments);
  const Index segment_length = round_up((length + segments - 1) / segments, kGroup);
  plan.segment_length = static_cast<int>(segment_length);
  plan.segments = static_cast<int>((length + segment_length - 1) / segment_length);
  plan.octets = static_cast<int>((length + kGroup - 1) / kGroup);
  const Index items = Index{plan.lines} * boxes * plan.segments;
  plan.threads = static_cast<int>(min_index(round_up(items, kWords), limits.max_threads));
  plan.products_bytes = static_cast<int>(round_up(items * product_bytes, 16));
  plan.tile_bytes = (length + 2 * kGroup + plan.octets + 2) * kWords * value_bytes;
  const Index bytes = plan.products_bytes + plan.tile_bytes;
  plan.in_shared = bytes <= limits.shared_bytes;
  plan.shared_bytes = plan.in_shared ? static_cast<int>(bytes) : plan.products_bytes;
  return plan;
}

// The boxes of a group: all those of some neighbouring channels, so that the lanes of a warp write
// neighbours in memory and few of them are idle. Channels first, a group is one box.
inline int boxes_of_group(const BoxConvProblem& p) {
  const Index m = p.boxes_per_channel;
  if (p.layout == Layout::kChannelsFirst) return 1;
  if (m > kWords) return kWords;
  Index best = 1, best_used = 0;
  for (Index channels = min_index(kWords / m, p.channels); channels >= 1; --channels) {
    const Index boxes = channels * m, groups = (p.channels + channels - 1) / channels;
    // Lanes that are used, of 1024, where kWords / boxes lines share a warp.
    const Index used = 1024 / kWords * (kWords / boxes) * p.out_channels() / groups;
    if (used > best_used) {
      best = boxes;
      best_used = used;
    }
  }
  return static_cast<int>(best);
}

// The most channels that the input has for a group of boxes.
inline int channels_of_group(const BoxConvProblem& p, int boxes) {
  const Index m = p.boxes_per_channel;
  return static_cast<int>(boxes % m == 0 ? boxes / m : boxes / m + 1 + (m % boxes != 0));
}

// Images and boxes that are computed together, so that their sums stay in the second-level cache.
struct Chunk {
  Index first_image, images, first_box, boxes;
};

// Whole images if at least one fits, otherwise some boxes of one image. All boxes of a channel are
// in one chunk, because their input gradients are added.
inline Chunk largest_chunk(const BoxConvProblem& p, Index chunk_bytes, int boxes_of_group,
                           int value_bytes) {
  const Index boxes = p.out_channels(), m = p.boxes_per_channel;
  const Index planes = max_index(chunk_bytes / (p.height * p.width * value_bytes), 1);
  const Index unit = boxes_of_group % m == 0 ? boxes_of_group : boxes_of_group == 1 ? m : boxes;
  const Index some = min_index(boxes, max_index(planes / unit, 1) * unit);
  return {0, clamp_index(planes / boxes, 1, p.batch), 0, planes < boxes ? some : boxes};
}

// Divides a workspace into arrays, in the order of the calls of claim(). Without memory (nullptr)
// it only adds up their sizes.
class Workspace {
 public:
  explicit Workspace(void* data = nullptr) : data_(static_cast<char*>(data)) {}
  template <typename V>
  V* claim(Index count) {
    V* piece = data_ == nullptr ? nullptr : reinterpret_cast<V*>(data_ + size_);
    size_ += static_cast<std::size_t>(round_up(count * static_cast<Index>(sizeof(V)), 256));
    return piece;
  }
  std::size_t size() const { return size_; }

 private:
  char* data_;
  std::size_t size_ = 0;
};

}  // namespace cuda
}  // namespace boxconv

#endif  // BOXCONV_CORE_CUDA_BOX_CONV_PLAN_H_
