// The seeded cut of a data set in two.
// SPDX-License-Identifier: Apache-2.0
#include "data/subset.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/random.h"

namespace fewshift {

std::vector<std::pair<size_t, size_t>> Subset::runs() const {
  std::vector<std::pair<size_t, size_t>> runs;
  auto place = [&](size_t index) {
    return static_cast<size_t>(std::lower_bound(indices_.begin(), indices_.end(), index) - indices_.begin());
  };
  for (const auto& [first, end] : dataset_->runs()) {
    if (place(first) < place(end)) runs.emplace_back(place(first), place(end));
  }
  return runs;
}

Split split_at_random(size_t size, double share, uint64_t seed) {
  constexpr uint64_t kPurpose = 0x73706C6974;  // "split": not the sequence of any epoch
  std::vector<size_t> order(size);
  std::iota(order.begin(), order.end(), size_t{0});
  Random random{seed, kPurpose};
  shuffle(order, random);
  const auto wanted = static_cast<size_t>(std::llround(share * static_cast<double>(size)));
  const auto middle = order.begin() + static_cast<std::ptrdiff_t>(std::clamp<size_t>(wanted, 1, size - 1));
  Split split{{middle, order.end()}, {order.begin(), middle}};
  std::sort(split.rest.begin(), split.rest.end());
  std::sort(split.part.begin(), split.part.end());
  return split;
}

}  // namespace fewshift
