// Memory that a thread keeps from call to call.
#ifndef BOXCONV_CORE_CPU_KEPT_ARRAY_H_
#define BOXCONV_CORE_CPU_KEPT_ARRAY_H_

#include "core/base/platform.h"
#include "core/cpu/scratch.h"

namespace boxconv {

// An array that is not initialized, at the start of a cache line. Like the scratch memory of the
// kernels, a thread keeps its memory unless it is very large. A thread can use only one KeptArray
// of each type V at a time. Check ok() before anything else.
template <typename V>
class KeptArray {
 public:
  explicit KeptArray(Index count) {
    char* const begin = memory().reserve(count * static_cast<Index>(sizeof(V)) + kCacheLineBytes);
    if (begin != nullptr) values_ = reinterpret_cast<V*>(baseline::cache_line_from(begin));
  }
  ~KeptArray() { memory().release(); }
  KeptArray(const KeptArray&) = delete;
  KeptArray& operator=(const KeptArray&) = delete;
  bool ok() const { return values_ != nullptr; }
  V* data() const { return values_; }

 private:
  static baseline::ThreadMemory& memory() {
    thread_local baseline::ThreadMemory memory;
    return memory;
  }

  V* values_ = nullptr;
};

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_KEPT_ARRAY_H_
