// Numbers that begin at a cache line; many of them on large pages, where the system has them: they are made
// at once rather than a small page at a time, and found faster. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <new>
#include <utility>
#include <vector>

namespace fewshift {

// Throws std::bad_alloc.
void* allocate_aligned(size_t bytes);
void free_aligned(void* memory);

template <class T>
struct AlignedAllocator {
  using value_type = T;
  AlignedAllocator() = default;
  template <class U>
  explicit AlignedAllocator(const AlignedAllocator<U>&) {}
  T* allocate(size_t count) { return static_cast<T*>(allocate_aligned(count * sizeof(T))); }
  void deallocate(T* memory, size_t) { free_aligned(memory); }
  // What resize() adds without a value is not written to.
  template <class U>
  void construct(U* at) {
    ::new (static_cast<void*>(at)) U;
  }
  template <class U, class... Args>
  void construct(U* at, Args&&... args) {
    ::new (static_cast<void*>(at)) U(std::forward<Args>(args)...);
  }
  template <class U>
  bool operator==(const AlignedAllocator<U>&) const {
    return true;
  }
};

using AlignedFloats = std::vector<float, AlignedAllocator<float>>;
using AlignedBytes = std::vector<char, AlignedAllocator<char>>;

}  // namespace fewshift
