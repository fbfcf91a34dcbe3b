// SPDX-License-Identifier: Apache-2.0
#include "train/device_pictures.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

#include "core/error.h"
#include "core/random.h"
#include "image/resize.h"

namespace fewshift {

using torch::Tensor;

bool DevicePictures::fits(const Dataset& dataset, const LoaderOptions& options, int64_t most) {
  const Augment& a = options.augment;
  const int64_t side = options.preprocess.size;
  return a.crop == "pad" && a.colour_jitter == 0 && a.rand_augment == 0 && a.erasing == 0 &&
         static_cast<int64_t>(dataset.size()) <= most / (side * side * 3);
}

DevicePictures::DevicePictures(const Dataset& dataset, const LoaderOptions& options, torch::Device device)
    : options_(options), bad_(dataset.size()) {
  const int side = options.preprocess.size;
  const auto size = static_cast<int64_t>(dataset.size());
  const Tensor pixels = torch::zeros({size, side, side, 3}, torch::kByte);
  uint8_t* const to = pixels.mutable_data_ptr<uint8_t>();
  std::atomic<size_t> next{0};
  std::mutex mutex;  // guards bad_ and broken_
  std::vector<std::thread> threads;
  for (int t = 0; t < options.workers; ++t) {
    threads.emplace_back([&] {
      for (size_t k; (k = next++) < dataset.size();) {
        try {
          const Image image = resize(*dataset.image(k), side, side, options.preprocess.interpolation);
          std::copy(image.pixels.begin(), image.pixels.end(), to + k * image.pixels.size());
        } catch (const std::exception& error) {
          const std::lock_guard lock(mutex);
          bad_[k] = true;
          broken_[dataset.name(k)] = error.what();
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  pixels_ = pixels.to(device);
  Tensor levels = torch::empty({256, 3});
  for (int v = 0; v < 256; ++v) {
    for (int c = 0; c < 3; ++c)
      levels[v][c] =
          (static_cast<float>(v) / 255.0f - options.preprocess.mean[c]) / options.preprocess.std[c];
  }
  levels_ = levels.to(device);
}

std::vector<size_t> DevicePictures::usable(const std::vector<size_t>& indices) const {
  std::vector<size_t> some;
  std::copy_if(indices.begin(), indices.end(), std::back_inserter(some), [&](size_t k) { return !bad_[k]; });
  return some;
}

Tensor DevicePictures::batch(const std::vector<size_t>& indices, uint64_t epoch) const {
  const int64_t n = static_cast<int64_t>(indices.size()), side = options_.preprocess.size;
  const int pad = options_.augment.pad;
  Tensor choice = torch::empty({4, n}, torch::kLong);  // picture, top, left, flipped
  auto c = choice.accessor<int64_t, 2>();
  for (int64_t k = 0; k < n; ++k) {  // draws as augment() does (data/transforms.cc)
    Random random{options_.seed, epoch, indices[k]};
    c[0][k] = static_cast<int64_t>(indices[k]);
    c[2][k] = static_cast<int64_t>(random.below(2 * pad + 1)) - pad;
    c[1][k] = static_cast<int64_t>(random.below(2 * pad + 1)) - pad;
    c[3][k] = options_.augment.flip && random.chance(0.5);
  }
  choice = choice.to(pixels_.device());
  const Tensor line = torch::arange(side, choice.options());
  const Tensor rows = choice[1].unsqueeze(1) + line;
  const Tensor mirrored = torch::where(choice[3].unsqueeze(1) == 1, side - 1 - line, line);
  const Tensor columns = choice[2].unsqueeze(1) + mirrored;
  const auto inside = [&](const Tensor& at) { return (at >= 0) & (at < side); };
  const Tensor taken = pixels_.index({choice[0].view({n, 1, 1}), rows.clamp(0, side - 1).unsqueeze(2),
                                      columns.clamp(0, side - 1).unsqueeze(1)});  // [n,S,S,3]
  const Tensor there = inside(rows).unsqueeze(2) & inside(columns).unsqueeze(1);
  const Tensor values = (taken * there.unsqueeze(3)).to(torch::kLong);
  return levels_.index({values, torch::arange(3, choice.options())}).permute({0, 3, 1, 2});
}

}  // namespace fewshift
