// Scratch memory of a kernel. Each thread keeps its scratch memory from call to call.
#ifndef BOXCONV_CORE_CPU_SCRATCH_H_
#define BOXCONV_CORE_CPU_SCRATCH_H_

#include <cstdlib>

#include "core/cpu/huge_pages.h"
#include "core/cpu/simd.h"

namespace boxconv {
namespace BOXCONV_ISA {

// The scratch memory of one thread. It stays allocated between calls: new memory costs page faults,
// which take longer than the arithmetic of a small problem.
class ThreadMemory {
 public:
  ~ThreadMemory() { std::free(data_); }

  // Returns at least `bytes` bytes, or null if there is not enough memory.
  char* reserve(std::size_t bytes) {
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
    char* memory_begin = memory().reserve(size_ + kAlignment);
    if (memory_begin == nullptr) return false;
    const auto address = reinterpret_cast<std::uintptr_t>(memory_begin);
    base_ = memory_begin + (kAlignment - address % kAlignment) % kAlignment;
    size_ = 0;
    set_arrays();
    return true;
  }

  // Returns the next array. Call it only in set_arrays().
  template <typename T>
  T* array(Index count) {
    T* const values = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + size_);
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
    size_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return values;
  }

 private:
  static constexpr std::size_t kAlignment = kCacheLineBytes;

  static ThreadMemory& memory() {
    thread_local ThreadMemory memory;
    return memory;
  }

  char* base_ = nullptr;
  std::size_t size_ = 0;  // of the arrays so far
};

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_SCRATCH_H_
