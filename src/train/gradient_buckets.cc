// SPDX-License-Identifier: Apache-2.0
#include "train/gradient_buckets.h"

#include <algorithm>

namespace fewshift {

using torch::Tensor;

GradientBuckets::GradientBuckets(World& world, Network network, int64_t bucket_bytes)
    : world_(world), bucket_bytes_(bucket_bytes), parameters_(network->parameters()) {
  std::reverse(parameters_.begin(), parameters_.end());
  hooked_.resize(parameters_.size());
}

void GradientBuckets::start() {
  if (world_.alone()) return;
  std::vector<bool> wanted;
  for (const Tensor& parameter : parameters_) wanted.push_back(parameter.requires_grad());
  if (wanted != wanted_) lay_out(wanted);
  for (size_t k = 0; k < parameters_.size(); ++k) {
    if (!wanted[k] || hooked_[k]) continue;
    parameters_[k].register_hook([this, k](const Tensor& gradient) { take(k, gradient); });
    hooked_[k] = true;
  }
  for (Bucket& bucket : buckets_) bucket.missing = 0;
  for (const Slice& slice : slices_) ++buckets_[slice.bucket].missing;
  sent_ = 0;
  counting_ = true;
}

void GradientBuckets::lay_out(const std::vector<bool>& wanted) {
  wanted_ = wanted;
  slices_.clear(), buckets_.clear();
  slice_of_.assign(parameters_.size(), -1);
  std::vector<int64_t> sizes;
  for (size_t k = 0; k < parameters_.size(); ++k) {
    if (!wanted[k]) continue;
    const int64_t bytes = static_cast<int64_t>(parameters_[k].nbytes());
    if (sizes.empty() || (sizes.back() + bytes > bucket_bytes_ && sizes.back() > 0)) sizes.push_back(0);
    slice_of_[k] = static_cast<int64_t>(slices_.size());
    slices_.push_back({parameters_[k], sizes.size() - 1, {}});
    sizes.back() += bytes;
  }
  for (const int64_t size : sizes)
    buckets_.push_back(
        {torch::zeros({size / static_cast<int64_t>(sizeof(float))},
                      slices_[0].parameter.options().dtype(torch::kFloat).requires_grad(false)),
         0,
         {}});
  std::vector<int64_t> used(buckets_.size());
  for (Slice& slice : slices_) {
    const Tensor p = slice.parameter.detach();
    const Tensor& values = buckets_[slice.bucket].values;
    const bool dense = p.is_non_overlapping_and_dense();
    // Not a view, which an optimiser could not detach.
    slice.place = torch::empty({0}, values.options())
                      .set_(values.storage(), used[slice.bucket], p.sizes(),
                            dense ? p.strides() : torch::empty(p.sizes()).strides());
    used[slice.bucket] += p.numel();
  }
}

void GradientBuckets::take(size_t parameter, const Tensor& gradient) {
  if (!counting_ || slice_of_[parameter] < 0) return;
  const torch::NoGradGuard no_grad;
  Slice& slice = slices_[static_cast<size_t>(slice_of_[parameter])];
  slice.place.copy_(gradient);
  --buckets_[slice.bucket].missing;
  send_full();
}

void GradientBuckets::send_full() {
  for (; sent_ < buckets_.size() && buckets_[sent_].missing == 0; ++sent_)
    buckets_[sent_].wait = world_.start_adding_up(buckets_[sent_].values);
}

void GradientBuckets::finish() {
  if (world_.alone()) return;
  counting_ = false;
  for (Slice& slice : slices_) {
    if (!slice.parameter.grad().defined()) slice.place.zero_();
  }
  for (Bucket& bucket : buckets_) bucket.missing = 0;
  send_full();
  for (Bucket& bucket : buckets_) bucket.wait();
  for (Slice& slice : slices_) slice.parameter.mutable_grad() = slice.place;
}

int64_t GradientBuckets::bytes() const {
  int64_t bytes = 0;
  for (const Bucket& bucket : buckets_) bytes += static_cast<int64_t>(bucket.values.nbytes());
  return bytes;
}

}  // namespace fewshift
