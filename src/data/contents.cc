// SPDX-License-Identifier: Apache-2.0
#include "data/contents.h"

#include <algorithm>

#include "core/error.h"
#include "core/fnv.h"
#include "data/picture_table.h"

namespace fewshift {

Contents contents_of(size_t count, const std::function<std::string(size_t)>& path) {
  constexpr size_t kMost = 20'000;
  const size_t looked_at = std::min(count, kMost);
  Fnv sizes, times;
  for (size_t k = 0; k < looked_at; ++k) {
    Stamp stamp;
    try {
      stamp = stamp_of({}, path(k * count / looked_at), false);
    } catch (const Error&) {  // gone
    }
    sizes.add(stamp.size);
    times.add(static_cast<uint64_t>(stamp.modified));
  }
  return {sizes.value(), times.value()};
}

}  // namespace fewshift
