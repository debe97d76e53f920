// Scratch memory of a kernel. Each thread keeps its memory from call to call.
#ifndef BOXCONV_CORE_CPU_SCRATCH_H_
#define BOXCONV_CORE_CPU_SCRATCH_H_

#include <cstdlib>

#include "core/cpu/simd.h"

namespace boxconv {
namespace BOXCONV_ISA {

// The memory of one thread. Fresh memory costs a page fault every 4 KiB, which takes longer than
// the arithmetic of a small problem, so up to 8 MiB stay allocated between calls.
class ThreadMemory {
 public:
  ~ThreadMemory() { std::free(data_); }

  // Returns at least `bytes` bytes, or null if there is not enough memory.
  char* reserve(std::size_t bytes) {
    if (bytes > size_) {
      std::free(data_);
      data_ = static_cast<char*>(std::malloc(bytes));
      size_ = data_ == nullptr ? 0 : bytes;
    }
    return data_;
  }

  // Frees the memory if it has grown large.
  void trim() {
    constexpr std::size_t kMaxKept = std::size_t{8} << 20;
    if (size_ <= kMaxKept) return;
    std::free(data_);
    data_ = nullptr;
    size_ = 0;
  }

 private:
  char* data_ = nullptr;
  std::size_t size_ = 0;
};

// Arrays in the thread's memory, each aligned to a cache line. Sizes are claimed first, then all
// arrays are allocated at once:
//
//   Scratch scratch;
//   const auto a = scratch.claim<float>(100);
//   if (!scratch.allocate()) ...;
//   float* data = scratch.data(a);
//
// A thread can use only one Scratch at a time.
class Scratch {
 public:
  template <typename T>
  struct Array {
    std::size_t offset;
  };

  Scratch() = default;
  ~Scratch() { memory().trim(); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <typename T>
  Array<T> claim(Index count) {
    const Array<T> array{size_};
    size_ +=
        (static_cast<std::size_t>(count) * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    return array;
  }

  bool allocate() {
    char* memory_begin = memory().reserve(size_ + kAlignment);
    if (memory_begin == nullptr) return false;
    const auto address = reinterpret_cast<std::uintptr_t>(memory_begin);
    base_ = memory_begin + (kAlignment - address % kAlignment) % kAlignment;
    return true;
  }

  template <typename T>
  T* data(Array<T> array) const {
    return reinterpret_cast<T*>(base_ + array.offset);
  }

 private:
  static constexpr std::size_t kAlignment = kCacheLineBytes;

  static ThreadMemory& memory() {
    thread_local ThreadMemory memory;
    return memory;
  }

  char* base_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_SCRATCH_H_
