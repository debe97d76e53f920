// Prefetches memory that a kernel will need soon, one cache line at a time while it computes.
#ifndef BOXCONV_CORE_CPU_PREFETCHER_H_
#define BOXCONV_CORE_CPU_PREFETCHER_H_

#include "core/cpu/simd.h"

namespace boxconv {
namespace BOXCONV_ISA {

// A sequence of cache lines, `stride_bytes` apart; each call of next() prefetches one.
//
// In channels-last images, the same few channels of neighbouring pixels lie so far apart that
// hardware prefetchers do not follow. Prefetching many cache lines at once would stall, so next()
// is called wherever an output is computed.
class Prefetcher {
 public:
  Prefetcher() = default;  // next() has no effect
  Prefetcher(const void* begin, Index cache_lines, Index stride_bytes)
      : address_(static_cast<const char*>(begin)),
        last_(address_ + (cache_lines - 1) * stride_bytes),
        stride_(stride_bytes) {}

  BOXCONV_INLINE void next() {
    __builtin_prefetch(address_);
    address_ += address_ < last_ ? stride_ : 0;
  }

 private:
  static constexpr char kNothing[1] = {};

  const char *address_ = kNothing, *last_ = kNothing;
  Index stride_ = 0;
};

// Up to three prefetchers that take turns while a tile is computed. Each is in use for an equal
// share of the tile's channels.
class PrefetchQueue {
 public:
  void add(const Prefetcher& prefetcher) { prefetchers_[count_++] = prefetcher; }

  // Call it before each channel. If the turn of a prefetcher begins at `channel`, copies that
  // prefetcher to `current`.
  void start(Index channel, Index channels, Prefetcher* current) const {
    for (int i = count_; i-- > 0;) {
      if (channel == i * channels / count_) *current = prefetchers_[i];
    }
  }

 private:
  Prefetcher prefetchers_[3];
  int count_ = 0;
};

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_PREFETCHER_H_
