// fewshift bench --data DIR
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/threads.h"
#include "core/error.h"
#include "core/json_text.h"
#include "train/evaluate.h"
#include "train/training_data.h"

namespace fewshift::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMostPictures = 4096;
constexpr int kTurns = 5;

// The median over some turns of pictures a second, f(k) for each picture k.
template <class F>
double rate(size_t pictures, F f) {
  std::vector<double> rates;
  for (int turn = 0; turn < kTurns; ++turn) {
    const auto begin = Clock::now();
    for (size_t k = 0; k < pictures; ++k) f(k);
    rates.push_back(static_cast<double>(pictures) /
                    std::chrono::duration<double>(Clock::now() - begin).count());
  }
  std::nth_element(rates.begin(), rates.begin() + kTurns / 2, rates.end());
  return rates[kTurns / 2];
}

}  // namespace

int bench_data(const BenchOptions& o) {
  Recipe recipe;
  recipe.data = o.data;
  recipe.val_share = 0;
  recipe.cache_mb = 0;
  recipe.rand_augment = o.rand_augment;
  recipe.scale_min = o.scale_min;
  if (o.batch > 0) recipe.batch = o.batch;
  recipe.workers = all_threads(o.threads);
  const int size = o.size > 0 ? o.size : 224;
  const Preprocess preprocess = default_preprocess(size);
  const Data data = open_training_data(recipe, preprocess);
  const Dataset& train = *data.train;
  LoaderOptions options = loader_options(recipe, preprocess);

  // Spread over the whole set, since a class may have larger pictures than another.
  const size_t pictures = std::min(train.size(), kMostPictures);
  auto index = [&](size_t k) { return k * train.size() / pictures; };
  for (size_t k = 0; k < pictures; ++k)
    train.image(index(k));  // the files into memory; broken ones throw here
  const double decoded = rate(pictures, [&](size_t k) { train.image(index(k)); });

  std::vector<std::shared_ptr<const Image>> images;
  const size_t few = std::min<size_t>(pictures, 256);
  for (size_t k = 0; k < few; ++k) images.push_back(train.image(index(k * pictures / few)));
  std::vector<float> out(size_t(size) * size * 3);
  const double augmented = rate(pictures, [&](size_t k) {
    augment(*images[k % images.size()], options.augment, preprocess, Random{options.seed, k}, out.data());
  });

  Batch batch;
  batch.size = recipe.batch;
  batch.images.resize(batch.size * out.size());
  const double copied =
      rate(64, [&](size_t) { images_tensor(batch, size).contiguous(); }) * static_cast<double>(batch.size);

  Loader loader(data.train, options);
  uint64_t epoch = 0;
  int64_t given = 0;
  const auto begin = Clock::now();
  do {
    loader.start(epoch++);
    while (loader.next(batch)) given += batch.size;
  } while (given < static_cast<int64_t>(pictures));
  const double loaded =
      static_cast<double>(given) / std::chrono::duration<double>(Clock::now() - begin).count();

  if (o.json) {
    std::cout << json_text(nlohmann::json{{"data", o.data},
                                          {"size", size},
                                          {"crop", options.augment.crop},
                                          {"decode_images_per_s", decoded},
                                          {"augment_images_per_s", augmented},
                                          {"copy_images_per_s", copied},
                                          {"workers", options.workers},
                                          {"loader_images_per_s", loaded}})
              << '\n';
    return kDone;
  }
  std::printf("%s  %zu pictures, %d px, images/s\n", o.data.c_str(), train.size(), size);
  std::printf("%-28s %10.0f a core\n", "read and decoded", decoded);
  std::printf("%-28s %10.0f a core\n", ("augmented (" + options.augment.crop + ")").c_str(), augmented);
  std::printf("%-28s %10.0f a core\n", "copied to the network", copied);
  std::printf("%-28s %10.0f with %d threads\n", "all but the copy, loader", loaded, options.workers);
  return kDone;
}

}  // namespace fewshift::cli
