// How malloc gets its memory, for programs whose arrays of tens of megabytes come and go at every step.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace fewshift {

// What is freed is kept, rather than given back to the system and asked for again as fresh, unmapped pages.
void keep_freed_memory();

// The main thread's arrays stand on huge pages from now on, where the system has some for those who ask:
// fewer misses of the page tables' cache. The system refusing changes nothing.
void use_huge_pages();

}  // namespace fewshift
