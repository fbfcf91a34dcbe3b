// SPDX-License-Identifier: Apache-2.0
#include "core/aligned.h"

#include <cstdlib>
#ifdef __linux__
#include <sys/mman.h>
#endif

namespace fewshift {

void* allocate_aligned(size_t bytes) {
  constexpr size_t kLine = 64, kLargePage = size_t{2} << 20;
  const size_t alignment = bytes >= kLargePage ? kLargePage : kLine;
  void* memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (!memory && bytes > 0) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  if (alignment == kLargePage)
    madvise(memory, bytes, MADV_HUGEPAGE);  // where it is not to be had, small ones do
#endif
  return memory;
}

void free_aligned(void* memory) {
  std::free(memory);
}

}  // namespace fewshift
