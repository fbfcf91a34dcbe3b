// Batches where they are used: by the loader, or, of a small set, made on the device itself.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

#include <map>
#include <memory>
#include <string>

#include "data/loader.h"
#include "train/device_pictures.h"

namespace fewshift {

struct Fed {
  Batch batch;                   // its numbers, indices and labels; its pictures may be elsewhere
  torch::Tensor images, labels;  // [n,3,S,S] channels_last and [n], on the device; valid until the next one
};

class Feed {
 public:
  Feed(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options, torch::Device device);

  int64_t batches() const { return static_cast<int64_t>(loader_.batches()); }
  bool on_device() const { return pictures_ != nullptr; }
  void start(int64_t epoch, int64_t first);
  bool next(Fed& fed);
  double waited() const { return waited_; }  // for pictures, since start(), s
  std::map<std::string, std::string> broken() const;

 private:
  static std::unique_ptr<DevicePictures> put_on_device(const Dataset& dataset, LoaderOptions& options,
                                                       torch::Device device);

  std::shared_ptr<const Dataset> dataset_;
  LoaderOptions options_;
  torch::Device device_;
  std::unique_ptr<DevicePictures> pictures_;
  Loader loader_;
  int64_t epoch_ = 0;
  double waited_ = 0;
};

}  // namespace fewshift
