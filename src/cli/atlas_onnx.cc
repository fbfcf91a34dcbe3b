// The shift atlas of an ONNX file, and what its shifts cost on the engine.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "arch/count.h"
#include "cli/inspect.h"
#include "core/error.h"
#include "engine/engine.h"
#include "graph/onnx/onnx.h"
#include "graph/passes/passes.h"

namespace fewshift::cli {
namespace {

using engine::Session;

// "units.3" of "units.3.project".
std::string unit_of(const std::string& layer) {
  const size_t dot = layer.find('.', layer.find('.') + 1);
  return layer.substr(0, dot);
}

// Microseconds of each unit's layers that hold shifts, with one thread: the fastest of some runs.
std::map<std::string, double> times(Session& session, const std::vector<std::string>& shifted,
                                    const std::vector<float>& x, std::vector<float>& y) {
  constexpr int kRuns = 20;
  session.profile(true);
  for (int k = 0; k < kRuns; ++k) session.run(x.data(), y.data());
  std::map<std::string, double> sums;
  for (const Session::Layer& layer : session.layers()) {
    if (std::find(shifted.begin(), shifted.end(), layer.name) != shifted.end())
      sums[unit_of(layer.name)] += 1e6 * layer.best;
  }
  return sums;
}

void measure(const graph::Graph& graph, html::Atlas& atlas) {
  graph::Graph without = graph;
  graph::recognise_shift(without);
  for (graph::Node& node : without.nodes) {
    if (auto* shift = std::get_if<graph::Shift>(&node.op))
      std::fill(shift->moves.begin(), shift->moves.end(), std::array<int32_t, 2>{0, 0});
  }
  const auto moving = engine::Model::from(graph), still = engine::Model::from(std::move(without));
  Session with(moving), unmoved(still);
  std::vector<float> x(graph::elements(moving->input_dims()), 0.5f),
      y(graph::elements(moving->output_dims()));
  std::vector<std::string> shifted;
  for (const Session::Layer& layer : with.layers()) {
    if (layer.shifts) shifted.push_back(layer.name);
  }
  std::map<std::string, double> moved, stayed;
  for (int turn = 0; turn < 5; ++turn) {  // in turns, the fastest of each: others use the machine too
    for (const auto& [unit, time] : times(with, shifted, x, y))
      moved[unit] = turn == 0 ? time : std::min(moved[unit], time);
    for (const auto& [unit, time] : times(unmoved, shifted, x, y))
      stayed[unit] = turn == 0 ? time : std::min(stayed[unit], time);
  }
  for (html::AtlasLayer& layer : atlas.layers) {
    const std::string unit = unit_of(layer.name);
    if (moved.count(unit) && stayed.count(unit))
      layer.microseconds = moved[unit], layer.still_microseconds = stayed[unit];
  }
}

}  // namespace

html::Atlas atlas_of_onnx(const InspectOptions& o) {
  const std::string& path = o.path;
  const graph::Graph graph = graph::read_onnx(path);
  const auto found = graph.metadata.find("displacements");
  const auto displacements =
      nlohmann::json::parse(found == graph.metadata.end() ? "" : found->second, nullptr, false);
  if (!displacements.is_object() || !graph.metadata.count("class_names"))
    throw Error(ErrorCode::kUnsupported, path,
                "its metadata has no displacements: it was not exported from a run of ours");
  const ModelInfo info = info_from_metadata(graph.metadata, path);
  constexpr double kMost = 4096;
  html::Atlas atlas;
  atlas.name = path, atlas.arch = arch_of(info, path), atlas.size = info.preprocess.size;
  for (const LayerCount& layer : count(atlas.arch, atlas.size).layers) {
    if (layer.displacements == 0) continue;
    html::AtlasLayer one;
    one.name = layer.name, one.height = layer.height, one.width = layer.width;
    const auto moves = displacements.find(layer.name);
    try {
      if (moves != displacements.end()) one.now = moves->get<html::Moves>();
    } catch (const nlohmann::json::exception&) {
      throw Error(ErrorCode::kCorrupt, path,
                  "metadata displacements of " + layer.name + " are no pairs of numbers");
    }
    if (!one.now.empty() && static_cast<int>(one.now.size()) != layer.out)
      throw Error(ErrorCode::kCorrupt, path,
                  "metadata displacements of " + layer.name + " are not one a channel");
    for (const auto& move : one.now) {
      if (!(std::abs(move[0]) <= kMost && std::abs(move[1]) <= kMost))
        throw Error(ErrorCode::kCorrupt, path,
                    "metadata displacements of " + layer.name + " lie beyond any map");
    }
    if (one.now.empty()) one.now.assign(layer.out, {0, 0});  // a layer in which nothing moves is left out
    atlas.layers.push_back(std::move(one));
  }
  measure(graph, atlas);
  atlas.picture = atlas_picture(o, info.preprocess);
  return atlas;
}

}  // namespace fewshift::cli
