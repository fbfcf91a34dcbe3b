// SPDX-License-Identifier: Apache-2.0
#include "core/memory.h"

#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace fewshift {

void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 2'000'000'000);
}

void use_huge_pages() {
  constexpr int kAhead = 1 << 30;  // of addresses; what nobody writes to takes no memory
  constexpr uintptr_t kPage = 1 << 21;
  mallopt(M_TOP_PAD, kAhead);
  constexpr size_t kSome = 64 << 20;  // more than the heap has at hand, so that it grows
  void* const some = std::malloc(kSome);
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(some) + kPage - 1) / kPage * kPage,
                  end = reinterpret_cast<uintptr_t>(sbrk(0)) / kPage * kPage;
  if (some && end > begin && end - begin <= 2 * static_cast<uintptr_t>(kAhead))
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
  std::free(some);
}

}  // namespace fewshift
