// Scratch memory of a kernel. Each thread keeps its scratch memory from call to call.
#ifndef BOXCONV_CORE_CPU_SCRATCH_H_
#define BOXCONV_CORE_CPU_SCRATCH_H_

#include <cstdlib>

#include "core/cpu/huge_pages.h"
#include "core/cpu/simd.h"

namespace boxconv {
namespace BOXCONV_ISA {

// The first cache line from `address` on.
BOXCONV_INLINE char* cache_line_from(char* address) {
  const auto misaligned = reinterpret_cast<std::uintptr_t>(address) % kCacheLineBytes;
  return address + (kCacheLineBytes - misaligned) % kCacheLineBytes;
}

// The scratch memory of one thread. It stays allocated between calls: new memory costs page faults,
// which take longer than the arithmetic of a small problem.
class ThreadMemory {
 public:
  ~ThreadMemory() { std::free(data_); }

  // Returns at least `count` bytes, or null if there is not enough memory.
  char* reserve(Index count) {
    const auto bytes = static_cast<std::size_t>(count);
    if (bytes > size_) {
      std::free(data_);
      data_ = static_cast<char*>(std::malloc(bytes));
      size_ = data_ == nullptr ? 0 : bytes;
      if (data_ != nullptr) advise_huge_pages(data_, size_, kMaxKept);
    }
    return data_;
  }

  // Lets the operating system have the memory if it has grown large: the system takes its pages
  // only when it needs them.
  void release() {
    if (size_ <= kMaxKept) return;
    if (size_ <= kMaxLent && lend_pages(data_, size_)) return;
    std::free(data_);
    data_ = nullptr;
    size_ = 0;
  }

 private:
  static constexpr std::size_t kMaxKept = std::size_t{8} << 20;
  static constexpr std::size_t kMaxLent = std::size_t{96} << 20;

  char* data_ = nullptr;
  std::size_t size_ = 0;
};

// Places arrays one after the other, each at the start of a cache line. `base` is the start of one.
// If it is null, the arrays are only counted: size() is the number of bytes that they take.
class MemoryLayout {
 public:
  MemoryLayout() = default;
  explicit MemoryLayout(char* base) : base_(base) {}

  // Returns the next array, or null if `base` is null.
  template <typename T>
  T* array(Index count) {
    T* const values = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + size_);
    size_ += round_up(count * static_cast<Index>(sizeof(T)), kCacheLineBytes);
    return values;
  }
  Index size() const { return size_; }

 private:
  char* base_ = nullptr;
  Index size_ = 0;
};

// Arrays in the thread's memory, each aligned to a cache line:
//
//   Scratch scratch;
//   float *a, *b;
//   const bool ok = scratch.allocate([&] {
//     a = scratch.array<float>(100);
//     b = scratch.array<float>(200);
//   });
//
// A thread can use only one Scratch at a time.
class Scratch {
 public:
  Scratch() = default;
  ~Scratch() { memory().release(); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // Calls set_arrays() twice: first to add up the sizes of the arrays, then to set their addresses
  // in the allocated memory. Returns false if there is not enough memory.
  template <typename SetArrays>
  bool allocate(const SetArrays& set_arrays) {
    set_arrays();
    char* const memory_begin = memory().reserve(layout_.size() + kCacheLineBytes);
    if (memory_begin == nullptr) return false;
    layout_ = MemoryLayout(cache_line_from(memory_begin));
    set_arrays();
    return true;
  }

  // Returns the next array. Call it only in set_arrays().
  template <typename T>
  T* array(Index count) {
    return layout_.array<T>(count);
  }

 private:
  static ThreadMemory& memory() {
    thread_local ThreadMemory memory;
    return memory;
  }

  MemoryLayout layout_;
};

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_SCRATCH_H_
