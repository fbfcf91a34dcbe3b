// A small data set whole on the device that trains, and its crops and flips made there.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <torch/torch.h>

#include <memory>
#include <optional>
#include <vector>

#include "data/loader.h"

namespace fewshift {

class DevicePictures {
 public:
  // Whether it can do all that `options` ask for: crop = "pad" and flips alone, and at most `most` bytes.
  static bool fits(const Dataset& dataset, const LoaderOptions& options, int64_t most);

  // Decodes every picture, by options.workers threads. Broken ones are black, and left out by `usable`.
  DevicePictures(const Dataset& dataset, const LoaderOptions& options, torch::Device device);

  // Those of `indices` that are not broken.
  std::vector<size_t> usable(const std::vector<size_t>& indices) const;
  // Of usable pictures, what the loader would give: [n,3,S,S], channels_last, on the device.
  torch::Tensor batch(const std::vector<size_t>& indices, uint64_t epoch) const;
  // Name -> reason.
  const std::map<std::string, std::string>& broken() const { return broken_; }

 private:
  LoaderOptions options_;
  torch::Tensor pixels_;  // [N,S,S,3] uint8
  torch::Tensor levels_;  // [256,3]: what each becomes
  std::vector<bool> bad_;
  std::map<std::string, std::string> broken_;
};

}  // namespace fewshift
