// Advice to the operating system about the pages of large arrays.
#ifndef BOXCONV_CORE_CPU_HUGE_PAGES_H_
#define BOXCONV_CORE_CPU_HUGE_PAGES_H_

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstddef>
#include <cstdint>

namespace boxconv {

// Advises the operating system to back an array of at least `min_bytes` by huge pages. If the
// system ignores the advice, nothing else changes.
//
// By default, these are arrays that the frameworks' allocators request anew from the system each
// time. With pages of 4 KiB, the page faults would take longer than the computation. The pages of
// smaller arrays are already mapped, because glibc's malloc reuses them.
inline void advise_huge_pages(const void* memory, std::size_t bytes,
                              std::size_t min_bytes = std::size_t{32} << 20) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr std::uintptr_t kHugePage = std::uintptr_t{2} << 20;
  if (bytes < min_bytes) return;
  const auto data = reinterpret_cast<std::uintptr_t>(memory);
  const std::uintptr_t begin = (data + kHugePage - 1) / kHugePage * kHugePage;
  const std::uintptr_t end = (data + bytes) / kHugePage * kHugePage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

// Lends the pages of an array to the operating system, which takes those that it needs and fills
// them with zeros when they are used again. The contents are lost. Returns false if the system does
// not support it.
inline bool lend_pages(void* memory, std::size_t bytes) {
#if defined(__linux__) && defined(MADV_FREE)
  constexpr std::uintptr_t kPage = 4096;
  const auto data = reinterpret_cast<std::uintptr_t>(memory);
  const std::uintptr_t begin = (data + kPage - 1) / kPage * kPage;
  const std::uintptr_t end = (data + bytes) / kPage * kPage;
  return madvise(reinterpret_cast<void*>(begin), end - begin, MADV_FREE) == 0;
#else
  return false;
#endif
}

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_HUGE_PAGES_H_
