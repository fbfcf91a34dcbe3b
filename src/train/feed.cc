// SPDX-License-Identifier: Apache-2.0
#include "train/feed.h"

#include <chrono>
#include <utility>

#include "train/evaluate.h"

namespace fewshift {

Feed::Feed(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options, torch::Device device)
    : dataset_(std::move(dataset)),
      options_(options),
      device_(device),
      pictures_(put_on_device(*dataset_, options_, device)),
      loader_(dataset_, options_) {}

std::unique_ptr<DevicePictures> Feed::put_on_device(const Dataset& dataset, LoaderOptions& options,
                                                    torch::Device device) {
  constexpr int64_t kMost = int64_t{4} << 30;  // bytes
  if (device.is_cpu() || !DevicePictures::fits(dataset, options, kMost)) return nullptr;
  auto pictures = std::make_unique<DevicePictures>(dataset, options, device);
  options.images = false;  // the loader gives their numbers
  return pictures;
}

void Feed::start(int64_t epoch, int64_t first) {
  epoch_ = epoch;
  waited_ = 0;
  loader_.start(static_cast<uint64_t>(epoch), static_cast<size_t>(first));
}

bool Feed::next(Fed& fed) {
  const auto began = std::chrono::steady_clock::now();
  Batch& batch = fed.batch;
  const bool more = loader_.next(batch);
  waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  if (!more) return false;
  if (pictures_) {
    batch.indices = pictures_->usable(batch.indices);
    batch.labels.clear();
    for (const size_t k : batch.indices) batch.labels.push_back(dataset_->label(k));
    batch.size = static_cast<int64_t>(batch.indices.size());
    fed.images = pictures_->batch(batch.indices, static_cast<uint64_t>(epoch_));
  } else {
    fed.images = images_tensor(batch, options_.preprocess.size).to(device_);
  }
  fed.labels = labels_tensor(batch).to(device_);
  return true;
}

std::map<std::string, std::string> Feed::broken() const {
  return pictures_ ? pictures_->broken() : loader_.broken();
}

}  // namespace fewshift
