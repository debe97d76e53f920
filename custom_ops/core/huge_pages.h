// Huge pages for large results that are about to be written.
#ifndef BOXCONV_CORE_HUGE_PAGES_H_
#define BOXCONV_CORE_HUGE_PAGES_H_

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstddef>
#include <cstdint>

namespace boxconv {

// Asks for huge pages under large memory. Frameworks' allocators get such memory from the system
// afresh each time, and the page faults of 4 KiB pages take longer than the kernel itself. Only
// advice: where it is not taken, nothing else changes.
inline void advise_huge_pages(const void* memory, std::size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr std::uintptr_t kHugePage = std::uintptr_t{2} << 20;
  // glibc's malloc reuses what is smaller than 32 MiB.
  if (bytes < (std::size_t{32} << 20)) return;
  const auto data = reinterpret_cast<std::uintptr_t>(memory);
  const std::uintptr_t begin = (data + kHugePage - 1) / kHugePage * kHugePage;
  const std::uintptr_t end = (data + bytes) / kHugePage * kHugePage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

}  // namespace boxconv

#endif  // BOXCONV_CORE_HUGE_PAGES_H_
