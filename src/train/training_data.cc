// SPDX-License-Identifier: Apache-2.0
#include "train/training_data.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/fnv.h"
#include "core/json_text.h"

namespace fewshift {
namespace {

using nlohmann::json;

Augment augment_of(const Recipe& recipe, int size) {
  Augment augment;
  augment.crop = recipe.crop != "auto" ? recipe.crop : size <= 64 ? "pad" : "random_resized";
  augment.pad = recipe.pad > 0 ? static_cast<int>(recipe.pad) : std::max(1, size / 8);
  augment.scale_min = recipe.scale_min;
  augment.flip = recipe.flip;
  augment.colour_jitter = recipe.colour_jitter;
  augment.rand_augment = static_cast<int>(recipe.rand_augment);
  augment.magnitude = recipe.magnitude;
  augment.erasing = recipe.erasing;
  return augment;
}

}  // namespace

Preprocess preprocess_of(const Recipe& recipe, int size) {
  Preprocess preprocess = default_preprocess(size);
  if (recipe.interpolation == "bicubic") preprocess.interpolation = Interpolation::kBicubic;
  return preprocess;
}

LoaderOptions loader_options(const Recipe& recipe, const Preprocess& preprocess, const World& world) {
  LoaderOptions options;
  options.batch = static_cast<int>(recipe.batch);
  options.workers = recipe.workers > 0 ? static_cast<int>(recipe.workers) : std::min(4, world.cores_here());
  options.seed = static_cast<uint64_t>(recipe.seed);
  options.shuffle = true;
  options.even = true;
  options.part = world.rank(), options.parts = world.size();
  options.augment = augment_of(recipe, preprocess.size);
  options.preprocess = preprocess;
  return options;
}

Data open_training_data(const Recipe& recipe, const Preprocess& preprocess, const World& world) {
  DataOptions options;
  options.seed = static_cast<uint64_t>(recipe.seed);
  options.val_share = recipe.val_share;
  options.min_side = decode_min_side(preprocess);
  options.cache_bytes = (static_cast<size_t>(recipe.cache_mb) << 20) / world.local_size();
  Data data = open_data(recipe.data, options);
  if (!data.train) throw Error(ErrorCode::kNotFound, recipe.data, "has no train/ to train on");
  if (data.train->size() < 2)
    throw Error(ErrorCode::kInvalidArgument, recipe.data, "has fewer than two pictures to train on");
  if (recipe.patience > 0 && !data.val)
    throw Error(ErrorCode::kInvalidArgument, "--patience", "needs val/, or data.val_share above 0");
  return data;
}

torch::Tensor class_weights(const Recipe& recipe, const Data& data) {
  if (recipe.class_weights == "none") return {};
  std::vector<float> pictures(data.class_names.size());
  for (size_t k = 0; k < data.train->size(); ++k) ++pictures[data.train->label(k)];
  const float fair = static_cast<float>(data.train->size()) / static_cast<float>(pictures.size());
  for (float& weight : pictures) weight = weight > 0 ? fair / weight : 1;
  return torch::tensor(pictures);
}

std::string describe_data(const std::string& name, const Data& data) {
  std::string line = name + ": " + data.format + ", " + std::to_string(data.class_names.size()) +
                     " classes, train " + std::to_string(data.train->size());
  if (data.val) line += ", val " + std::to_string(data.val->size());
  if (data.val_from_train)
    line += data.format == kClassFolders ? " (a part of every class, by the seed)"
                                         : " (held out of train/, by the seed)";
  if (data.test) line += ", test " + std::to_string(data.test->size());
  if (!data.passed_over.empty()) line += "; passed over: " + text(data.passed_over);
  return line;
}

std::string data_fingerprint(const Data& data) {
  Fnv hash;
  for (const auto& set : {data.train, data.val}) {
    hash.add(uint64_t{set ? set->size() : 0});
    for (size_t k = 0; set && k < set->size(); ++k) hash.add(static_cast<uint64_t>(set->label(k)));
  }
  return json_text(json(data.class_names)) + std::to_string(hash.value());
}

DataIdentity identity_of(const Recipe& recipe, const Data& data) {
  DataIdentity identity{data_fingerprint(data), "", "", ""};
  for (const auto& set : {data.train, data.val_from_train ? nullptr : data.val}) {
    const Contents contents = set ? set->contents() : Contents{};
    identity.sizes += std::to_string(contents.sizes) + " ";
    identity.times += std::to_string(contents.times) + " ";
  }
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::weakly_canonical(recipe.data, error);
  identity.folder = error ? recipe.data : folder.string();
  return identity;
}

std::string names_fingerprint(const Data& data) {
  Fnv hash;
  for (const auto& set : {data.train, data.val})
    for (size_t k = 0; set && k < set->size(); ++k) hash.add(set->name(k) + '\n');
  return std::to_string(hash.value());
}

}  // namespace fewshift
