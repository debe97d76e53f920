// Scratch memory of a kernel, kept by its thread from call to call.
#ifndef BOXCONV_CORE_SCRATCH_H_
#define BOXCONV_CORE_SCRATCH_H_

#include <cstdlib>

#include "core/platform.h"

namespace boxconv {
namespace BOXCONV_ISA {

// A thread's block of memory, which Scratch hands out in pieces. Fresh memory costs a page fault
// every few kilobytes, more than a small problem's arithmetic, so the block stays with its thread
// unless it has grown large.
class ThreadMemory {
 public:
  ~ThreadMemory() { std::free(block_); }

  // Returns null when there is no memory to be had.
  char* get(std::size_t bytes) {
    if (bytes > size_) {
      std::free(block_);
      block_ = static_cast<char*>(std::malloc(bytes));
      size_ = block_ == nullptr ? 0 : bytes;
    }
    return block_;
  }

  void give_back() {
    constexpr std::size_t kKept = std::size_t{8} << 20;
    if (size_ <= kKept) return;
    std::free(block_);
    block_ = nullptr;
    size_ = 0;
  }

 private:
  char* block_ = nullptr;
  std::size_t size_ = 0;
};

// Pieces of the thread's memory, each on a cache line of its own. Sizes are claimed first, then
// all are allocated at once:
//   Scratch scratch;
//   const auto a = scratch.claim<float>(100);
//   if (!scratch.allocate()) ...;
//   float* data = scratch.data(a);
// One at a time in a thread.
class Scratch {
 public:
  template <typename T>
  struct Piece {
    std::size_t offset;
  };

  Scratch() = default;
  ~Scratch() { memory().give_back(); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <typename T>
  Piece<T> claim(Index count) {
    const Piece<T> piece{size_};
    size_ += (static_cast<std::size_t>(count) * sizeof(T) + kLine - 1) / kLine * kLine;
    return piece;
  }

  bool allocate() {
    char* block = memory().get(size_ + kLine);
    if (block == nullptr) return false;
    const auto address = reinterpret_cast<std::uintptr_t>(block);
    base_ = block + (kLine - address % kLine) % kLine;
    return true;
  }

  template <typename T>
  T* data(Piece<T> piece) const {
    return reinterpret_cast<T*>(base_ + piece.offset);
  }

 private:
  static constexpr std::size_t kLine = kCacheLine;

  static ThreadMemory& memory() {
    thread_local ThreadMemory memory;
    return memory;
  }

  char* base_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace BOXCONV_ISA
}  // namespace boxconv

#endif  // BOXCONV_CORE_SCRATCH_H_
