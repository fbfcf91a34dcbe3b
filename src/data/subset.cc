// The seeded cut of a data set in two.
// SPDX-License-Identifier: Apache-2.0
#include "data/subset.h"

#include <algorithm>
#include <cmath>
#include <map>
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

Split split_by_class(const Dataset& dataset, double share, uint64_t seed) {
  std::map<int, std::vector<size_t>> pictures;  // of each class
  for (size_t k = 0; k < dataset.size(); ++k) pictures[dataset.label(k)].push_back(k);
  Split split;
  for (const auto& [label, indices] : pictures) {
    Split own{{0}, {}};
    if (indices.size() > 1) own = split_at_random(indices.size(), share, seed + static_cast<uint64_t>(label));
    for (const size_t k : own.rest) split.rest.push_back(indices[k]);
    for (const size_t k : own.part) split.part.push_back(indices[k]);
  }
  std::sort(split.rest.begin(), split.rest.end());
  std::sort(split.part.begin(), split.part.end());
  return split;
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
