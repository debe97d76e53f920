// Prefetches memory that a kernel will need soon, one cache line at a time while it computes.
#ifndef BOXCONV_CORE_CPU_PREFETCHER_H_
#define BOXCONV_CORE_CPU_PREFETCHER_H_

#include "core/cpu/simd.h"

namespace boxconv {
namespace BOXCONV_ISA {

// A sequence of cache lines, `stride_bytes` apart. In channels-last images a few channels of
// neighbouring pixels lie so far apart that hardware prefetchers do not follow. Prefetching many
// lines at once would stall, so each call of next() prefetches one.
class Prefetcher {
 public:
  Prefetcher() = default;  // prefetches nothing useful
  Prefetcher(const void* begin, Index cache_lines, Index stride_bytes)
      : address_(static_cast<const char*>(begin)),
        last_(address_ + (cache_lines - 1) * stride_bytes),
        stride_(stride_bytes) {}

  BOXCONV_HOST_DEVICE void next() {
    __builtin_prefetch(address_);
    address_ += address_ < last_ ? stride_ : 0;
  }

 private:
  static constexpr char kNothing[1] = {};

  const char *address_ = kNothing, *last_ = kNothing;
  Index stride_ = 0;
};

// Up to three prefetchers. Each runs during an equal share of a tile's channels.
class PrefetchQueue {
 public:
  void add(const Prefetcher& prefetcher) { prefetchers_[count_++] = prefetcher; }

  // The prefetcher that starts at `channel` of `channels`, or null if none starts there.
  const Prefetcher* starting_at(Index channel, Index channels) const {
    for (int i = 0; i < count_; ++i) {
      if (channel == i * channels / count_) return &prefetchers_[i];
    }
    return nullptr;
  }

 private:
  Prefetcher prefetchers_[3];
  int count_ = 0;
};

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_PREFETCHER_H_
