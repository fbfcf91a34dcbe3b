// fewshift inspect MODEL.onnx: the nodes of the file, its shifts recognised.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/inspect.h"
#include "core/json_text.h"
#include "graph/onnx/onnx.h"
#include "graph/passes/passes.h"

namespace fewshift::cli {
namespace {

struct Layer {
  const graph::Node* node;
  graph::Dims output;
  int64_t params = 0, madds = 0;
  const graph::Shift* shift = nullptr;
  double sparsity() const {
    const auto still = std::count(shift->moves.begin(), shift->moves.end(), std::array<int32_t, 2>{0, 0});
    return static_cast<double>(still) / static_cast<double>(shift->moves.size());
  }
};

std::vector<Layer> layers_of(const graph::Graph& g) {
  graph::Dims input = g.input_dims;
  input[0] = 1;
  const std::vector<graph::Dims> dims = infer_shapes(g, input);
  std::vector<Layer> layers;
  for (const graph::Node& node : g.nodes) {
    Layer layer{&node, dims[node.output]};
    for (int v : node.inputs) {
      if (g.values[v].constant) layer.params += graph::elements(dims[v]);
    }
    const bool conv = std::holds_alternative<graph::Conv>(node.op);
    if (conv || std::holds_alternative<graph::Linear>(node.op)) {
      layer.madds = graph::elements(dims[node.inputs[1]]);
      if (conv) layer.madds *= layer.output[2] * layer.output[3];
    }
    layer.shift = std::get_if<graph::Shift>(&node.op);
    layers.push_back(layer);
  }
  return layers;
}

}  // namespace

int inspect_onnx(const InspectOptions& o) {
  const std::string& path = o.path;
  if (!o.html.empty()) {
    write_atlas(o, atlas_of_onnx(o));
    if (!o.as_json) return kDone;
  }
  graph::Graph g = graph::read_onnx(path);
  graph::recognise_shift(g);
  graph::recognise_functions(g);
  graph::Dims input = g.input_dims;
  input[0] = 1;
  const std::vector<Layer> layers = layers_of(g);
  int64_t params = 0, madds = 0, channels = 0, still = 0;
  for (const Layer& layer : layers) {
    params += layer.params, madds += layer.madds;
    if (!layer.shift) continue;
    channels += static_cast<int64_t>(layer.shift->moves.size());
    still += std::count(layer.shift->moves.begin(), layer.shift->moves.end(), std::array<int32_t, 2>{0, 0});
  }
  const double sparsity = channels ? static_cast<double>(still) / static_cast<double>(channels) : 1;
  if (o.as_json) {
    nlohmann::json rows = nlohmann::json::array();
    for (const Layer& layer : layers) {
      nlohmann::json row = {{"name", layer.node->name},
                            {"kind", kind(layer.node->op)},
                            {"output", layer.output},
                            {"params", layer.params},
                            {"madds", layer.madds}};
      if (layer.shift) row["shifts"] = layer.shift->moves, row["shift_sparsity"] = layer.sparsity();
      rows.push_back(row);
    }
    nlohmann::json result = {{"model", g.name}, {"file", path},   {"input", g.input_dims}, {"params", params},
                             {"madds", madds},  {"layers", rows}, {"notes", g.metadata}};
    if (channels) result["shift_sparsity"] = sparsity;
    std::cout << json_text(result) << '\n';
    return kDone;
  }
  std::printf("%s  input %s  (%s)\n%-28s %-12s %-16s %11s %10s %9s\n", g.name.c_str(),
              ("N" + graph::text(input).substr(1)).c_str(), path.c_str(), "node", "kind", "output",
              "parameters", "M-Adds", "sparsity");
  for (const Layer& layer : layers) {
    std::printf("%-28s %-12s %-16s %11ld %9.3fM", layer.node->name.c_str(), kind(layer.node->op),
                graph::text(layer.output).c_str(), layer.params, static_cast<double>(layer.madds) / 1e6);
    if (layer.shift) std::printf(" %8.1f%%", 100 * layer.sparsity());
    std::printf("\n");
  }
  std::printf("%-28s %-12s %-16s %11ld %9.3fM", "all", "", "", params, static_cast<double>(madds) / 1e6);
  if (channels) std::printf(" %8.1f%%", 100 * sparsity);
  std::printf("\n");
  return kDone;
}

}  // namespace fewshift::cli
