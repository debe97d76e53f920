// Requests huge pages for large output arrays.
#ifndef BOXCONV_CORE_CPU_HUGE_PAGES_H_
#define BOXCONV_CORE_CPU_HUGE_PAGES_H_

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstddef>
#include <cstdint>

namespace boxconv {

// Advises the kernel to back a large array by huge pages. The frameworks' allocators request such
// arrays anew from the system each time, and page faults of 4 KiB pages would take longer than the
// computation. It is only advice: if the kernel ignores it, nothing else changes.
inline void advise_huge_pages(const void* memory, std::size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr std::uintptr_t kHugePage = std::uintptr_t{2} << 20;
  // glibc's malloc reuses smaller arrays.
  if (bytes < (std::size_t{32} << 20)) return;
  const auto data = reinterpret_cast<std::uintptr_t>(memory);
  const std::uintptr_t begin = (data + kHugePage - 1) / kHugePage * kHugePage;
  const std::uintptr_t end = (data + bytes) / kHugePage * kHugePage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

}  // namespace boxconv

#endif  // BOXCONV_CORE_CPU_HUGE_PAGES_H_
