// Requests huge pages for large output arrays.
#ifndef BOXCONV_CORE_CPU_HUGE_PAGES_H_
#define BOXCONV_CORE_CPU_HUGE_PAGES_H_

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstddef>
#include <cstdint>

namespace boxconv {

// Advises the operating system to back a large array by huge pages. The frameworks' allocators
// request large arrays anew from the system each time. With pages of 4 KiB, the page faults would
// take longer than the computation. If the system ignores the advice, nothing else changes.
inline void advise_huge_pages(const void* memory, std::size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr std::uintptr_t kHugePage = std::uintptr_t{2} << 20;
  // The pages of smaller arrays are already mapped, because glibc's malloc reuses them.
  if (bytes < (std::size_t{32} << 20)) return;
  const auto data = reinterpret_cast<std::uintptr_t>(memory);
  const std::uintptr_t begin = (data + kHugePage - 1) / kHugePage * kHugePage;
  const std::uintptr_t end = (data + bytes) / kHugePage * kHugePage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_HUGE_PAGES_H_
