// Fills the cache as pictures are asked for; decoding holds no lock.
// SPDX-License-Identifier: Apache-2.0
#include "data/cached.h"

namespace fewshift {

bool CacheBudget::take(size_t bytes) {
  size_t left = left_;
  while (left >= bytes) {
    if (left_.compare_exchange_weak(left, left - bytes)) return true;
  }
  return false;
}

std::shared_ptr<const Image> Cached::image(size_t index) const {
  {
    const std::lock_guard lock(mutex_);
    if (kept_[index]) return kept_[index];
  }
  auto image = dataset_->image(index);
  const std::lock_guard lock(mutex_);
  if (!kept_[index] && budget_->take(sizeof(Image) + image->pixels.size())) kept_[index] = image;
  return image;
}

}  // namespace fewshift
