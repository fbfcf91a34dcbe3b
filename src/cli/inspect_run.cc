// fewshift inspect, of a run: its layers, and the shifts that its channels learned.
// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "arch/count.h"
#include "cli/commands.h"
#include "cli/inspect.h"
#include "cli/metrics.h"
#include "core/error.h"
#include "core/json_text.h"
#include "image/centre_crop.h"
#include "nn/displacements.h"
#include "train/checkpoint.h"
#include "train/run_files.h"
#include "train/training_data.h"

namespace fewshift::cli {
namespace {

using nlohmann::json;

json rows_of(const torch::Tensor& tensor) {  // [C,2]
  json rows = json::array();
  const torch::Tensor wide = tensor.detach().to(torch::kDouble);
  const auto values = wide.accessor<double, 2>();
  for (int64_t c = 0; c < wide.size(0); ++c) rows.push_back({values[c][0], values[c][1]});
  return rows;
}

json whole_rows_of(const torch::Tensor& tensor) {
  json rows = json::array();
  const auto values = tensor.accessor<int64_t, 2>();
  for (int64_t c = 0; c < tensor.size(0); ++c) rows.push_back({values[c][0], values[c][1]});
  return rows;
}

json histogram_of(const Network& network, bool at_start) {
  json object = json::object();
  for (const auto& [shift, channels] : shift_histogram(network, at_start)) {
    object[std::to_string(shift.first) + "," + std::to_string(shift.second)] = channels;
  }
  return object;
}

json describe(const TrainedModel& model, const Count& total) {
  std::map<std::string, ShiftLayer> shifts;
  for (const NamedShift& named : model.network->shifts()) shifts.emplace(named.name, named.layer);
  const auto shares = layer_sparsity(model.network);
  json layers = json::array();
  size_t shift_index = 0;
  for (const LayerCount& layer : total.layers) {
    json row = {{"name", layer.name},     {"kind", layer.kind},     {"in", layer.in},
                {"out", layer.out},       {"height", layer.height}, {"width", layer.width},
                {"params", layer.params}, {"madds", layer.madds}};
    if (const auto found = shifts.find(layer.name); found != shifts.end()) {
      row["shift_sparsity"] = shares[shift_index++];
      row["displacements"] = rows_of(found->second->displacement);
      row["shifts"] = whole_rows_of(found->second->shifts());
    }
    layers.push_back(row);
  }
  const ShiftChange change = shift_change(model.network);
  json result = {
      {"model", model.info.model},
      {"checkpoint", model.path.string()},
      {"input", {3, model.info.preprocess.size, model.info.preprocess.size}},
      {"classes", model.info.class_names},
      {"params", total.params},
      {"madds", total.madds},
      {"displacements", total.displacements},
      {"change",
       {{"channels", change.channels},
        {"to_another_shift", change.moved},
        {"to_zero", change.to_zero},
        {"from_zero", change.from_zero}}},
      {"histogram",
       {{"start", histogram_of(model.network, true)}, {"end", histogram_of(model.network, false)}}},
      {"notes", model.info.notes},
      {"layers", layers}};
  if (takes_shift(model.network->arch())) result["shift"] = model.info.shift;
  if (!shifts.empty()) result["shift_sparsity"] = shift_sparsity(model.network);
  return result;
}

// The moves as a map: rows dy, columns dx, within reach; what lies farther is added up below it.
void print_histogram(const Network& network, bool at_start) {
  constexpr int64_t kReach = 4;
  int64_t reach = 1, farther = 0;
  const auto histogram = shift_histogram(network, at_start);
  for (const auto& [shift, channels] : histogram) {
    const int64_t far = std::max(std::abs(shift.first), std::abs(shift.second));
    if (far <= kReach) reach = std::max(reach, far);
    if (far > kReach) farther += channels;
  }
  std::printf("        ");
  for (int64_t dx = -reach; dx <= reach; ++dx) std::printf(" dx %+2ld", dx);
  std::printf("\n");
  for (int64_t dy = -reach; dy <= reach; ++dy) {
    std::printf("  dy %+2ld ", dy);
    for (int64_t dx = -reach; dx <= reach; ++dx) {
      const auto found = histogram.find({dy, dx});
      std::printf("%6ld", found == histogram.end() ? 0 : found->second);
    }
    std::printf("\n");
  }
  if (farther > 0) std::printf("  farther: %ld\n", farther);
}

void print(const TrainedModel& model, const Count& total) {
  const bool shifts = takes_shift(model.network->arch());
  std::printf("%s%s%s  %d px  %zu classes  (%s)\n", model.info.model.c_str(), shifts ? "  " : "",
              shifts ? model.info.shift.c_str() : "", model.info.preprocess.size,
              model.info.class_names.size(), model.path.string().c_str());
  std::printf("%-26s %-14s %11s %9s %11s %10s %9s\n", "layer", "kind", "channels", "output", "parameters",
              "M-Adds", "sparsity");
  const auto shares = layer_sparsity(model.network);
  size_t shift_index = 0;
  for (const LayerCount& layer : total.layers) {
    const std::string channels = std::to_string(layer.in) + " > " + std::to_string(layer.out);
    const std::string output = std::to_string(layer.height) + "x" + std::to_string(layer.width);
    std::printf("%-26s %-14s %11s %9s %11ld %9.3fM", layer.name.c_str(), layer.kind.c_str(), channels.c_str(),
                output.c_str(), layer.params, static_cast<double>(layer.madds) / 1e6);
    if (layer.displacements > 0) std::printf(" %8.1f%%", 100 * shares[shift_index++]);
    std::printf("\n");
  }
  const ShiftChange change = shift_change(model.network);
  std::printf("%-26s %-14s %11s %9s %11ld %9.3fM", "all", "", "", "", total.params,
              static_cast<double>(total.madds) / 1e6);
  if (change.channels == 0) {
    std::printf("\n");
    return;
  }
  std::printf(" %8.1f%%\n", 100 * shift_sparsity(model.network));
  std::printf("\nShifts of the %ld channels at the start:\n", change.channels);
  print_histogram(model.network, true);
  std::printf("and now:\n");
  print_histogram(model.network, false);
  std::printf("%ld channels ended at another shift than they began with, %ld lost theirs, %ld found one.\n",
              change.moved, change.to_zero, change.from_zero);
}

html::Moves moves_of(const torch::Tensor& tensor) {  // [C,2]
  html::Moves moves;
  const torch::Tensor wide = tensor.detach().to(torch::kDouble);
  const auto values = wide.accessor<double, 2>();
  for (int64_t c = 0; c < wide.size(0); ++c) moves.push_back({values[c][0], values[c][1]});
  return moves;
}

// The first picture that a run's data set has, for looking at, if it is still there.
std::optional<Image> own_picture(const std::string& run, const Preprocess& preprocess) {
  try {
    Recipe recipe = read_run_recipe(run, run);
    recipe.cache_mb = 0;
    const Data data = open_training_data(recipe, preprocess);
    const auto set = data.test ? data.test : data.val ? data.val : data.train;
    return resize_centre_crop(*set->image(0), preprocess);
  } catch (const Error&) {
    return {};
  }
}

// What metrics.jsonl says of the shift layers, as far as every epoch says it of all.
void take_record(const std::vector<json>& epochs, html::Atlas& atlas) {
  for (const json& epoch : epochs) {
    std::vector<std::pair<double, double>> values;
    try {
      for (const html::AtlasLayer& layer : atlas.layers) {
        const json& one = epoch.at("layers").at(layer.name);
        values.emplace_back(one.at("shift_sparsity"), one.at("travelled"));
      }
      atlas.epochs.push_back(epoch.at("epoch"));
    } catch (const json::exception&) {
      return;
    }
    for (size_t k = 0; k < values.size(); ++k) {
      atlas.layers[k].still.push_back(values[k].first);
      atlas.layers[k].travelled.push_back(values[k].second);
    }
  }
}

html::Atlas atlas_of(const InspectOptions& o, const TrainedModel& model, const Count& total) {
  html::Atlas atlas;
  atlas.name = o.path, atlas.arch = model.network->arch(), atlas.size = model.info.preprocess.size;
  for (const NamedShift& shift : model.network->shifts()) {
    html::AtlasLayer layer;
    layer.name = shift.name;
    layer.now = moves_of(shift.layer->displacement), layer.start = moves_of(shift.layer->start);
    for (const LayerCount& row : total.layers) {
      if (row.name == shift.name) layer.height = row.height, layer.width = row.width;
    }
    atlas.layers.push_back(std::move(layer));
  }
  take_record(read_epochs(RunFiles(o.path)), atlas);
  atlas.picture = atlas_picture(o, model.info.preprocess);
  if (!atlas.picture) atlas.picture = own_picture(o.path, model.info.preprocess);
  return atlas;
}

}  // namespace

int inspect_run(const InspectOptions& o) {
  const TrainedModel model = load_model(o.path);
  const Count total = count(model.network->arch(), model.info.preprocess.size);
  if (!o.html.empty()) write_atlas(o, atlas_of(o, model, total));
  if (o.as_json) {
    std::cout << json_text(describe(model, total)) << '\n';
  } else if (o.html.empty()) {
    print(model, total);
  }
  return kDone;
}

}  // namespace fewshift::cli
