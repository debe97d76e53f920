// Asking for memory ahead of its use.
#ifndef BOXCONV_CORE_PREFETCHER_H_
#define BOXCONV_CORE_PREFETCHER_H_

#include "core/platform.h"

namespace boxconv {
namespace BOXCONV_ISA {

// Cache lines that will be needed soon, asked for one at a time while a kernel computes.
// Channels-last pixels of a few channels lie apart, in steps that hardware prefetchers do not
// follow, and asking for many lines at once would only wait for them.
class Prefetcher {
 public:
  Prefetcher() = default;  // asks for nothing of use
  Prefetcher(const void* begin, Index lines, Index step_bytes)
      : at_(static_cast<const char*>(begin)),
        last_(at_ + (lines - 1) * step_bytes),
        step_(step_bytes) {}

  BOXCONV_HOST_DEVICE void next() {
    __builtin_prefetch(at_);
    at_ += at_ < last_ ? step_ : 0;
  }

 private:
  static constexpr char kNothing[1] = {};

  const char *at_ = kNothing, *last_ = kNothing;
  Index step_ = 0;
};

// Prefetchers that take turns: each has its share of a unit's channels.
class PrefetchQueue {
 public:
  void add(const Prefetcher& prefetcher) { turns_[count_++] = prefetcher; }

  // The prefetcher for the channels from `channel` on, of `channels`; null if it has begun already.
  const Prefetcher* begins_at(Index channel, Index channels) const {
    for (int i = 0; i < count_; ++i) {
      if (channel == i * channels / count_) return &turns_[i];
    }
    return nullptr;
  }

 private:
  Prefetcher turns_[3];
  int count_ = 0;
};

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_PREFETCHER_H_
