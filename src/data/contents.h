// Whether the files of a data set are those that they were, without reading them.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace fewshift {

// What files are by their sizes and by their times, each as a hash.
struct Contents {
  uint64_t sizes = 0, times = 0;
};

// Of `count` files, whose paths `path` gives by number: of more than 20,000, of so many, evenly. Those that
// are gone count as empty.
Contents contents_of(size_t count, const std::function<std::string(size_t)>& path);

}  // namespace fewshift
