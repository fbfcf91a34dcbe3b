// fewshift export
// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "arch/count.h"
#include "arch/registry.h"
#include "cli/commands.h"
#include "core/error.h"
#include "core/json_text.h"
#include "export/lower.h"
#include "graph/onnx/onnx.h"
#include "graph/passes/passes.h"
#include "model/info.h"

namespace fewshift::cli {
namespace {

struct Options {
  std::string run, model, shift = "ssl", out;
  int size = 0;
  double sparsity = 0.7;
  uint64_t seed = 0;
};

// Of shift layers as they stand in the graph: "units.0.shift": [[dy,dx],...].
std::string moves_of(const graph::Graph& graph) {
  nlohmann::json layers = nlohmann::json::object();
  for (const graph::Node& node : graph.nodes) {
    if (const auto* shift = std::get_if<graph::Shift>(&node.op)) layers[node.name] = shift->moves;
  }
  return json_text(layers);
}

graph::Graph trained(const Options& o) {
  const std::filesystem::path path = checkpoint_path(o.run);
  const std::string where = path.string();
  const SafeTensors file = read_safetensors(path);
  ModelInfo info = info_of_checkpoint(file, where);
  if (o.size > 0) {  // seen at the same scale
    info.preprocess.resize = std::max(o.size, info.preprocess.resize * o.size / info.preprocess.size);
    info.preprocess.size = o.size;
  }
  const Arch arch = arch_of(info, where);
  count(arch, info.preprocess.size);  // refuses a size too small
  graph::Graph graph = lower(arch, weights_of(file, where), info.preprocess.size);
  graph.metadata = to_metadata(info);
  return graph;
}

graph::Graph untrained(const Options& o) {
  const Arch arch = make_arch(o.model, 0, o.shift);
  const int size = o.size > 0 ? o.size : arch.size;
  count(arch, size);
  graph::Graph graph = lower(arch, random_weights(o.seed, o.sparsity), size);
  graph.metadata = {{"model", o.model},
                    {"shift", o.shift},
                    {"seed", std::to_string(o.seed)},
                    {"weights", "random"},
                    {"preprocess", to_json(default_preprocess(size))}};
  return graph;
}

int run(const Options& o) {
  if (o.run.empty() == o.model.empty()) {
    throw Error(ErrorCode::kInvalidArgument, "export", "wants either a RUN or --model NAME");
  }
  graph::Graph graph = o.model.empty() ? trained(o) : untrained(o);
  graph::fold_batch_norm(graph);
  graph.metadata["displacements"] = moves_of(graph);
  graph::write_onnx(o.out, graph);
  const std::vector<graph::Dims> dims = infer_shapes(graph, {1, 3, graph.input_dims[2], graph.input_dims[3]});
  std::printf("%s: %s, image [N,%ld,%ld,%ld] to logits [N,%ld], %zu nodes\n", o.out.c_str(),
              graph.name.c_str(), graph.input_dims[1], graph.input_dims[2], graph.input_dims[3],
              dims[graph.output][1], graph.nodes.size());
  return kDone;
}

}  // namespace

Action export_command(CLI::App& command) {
  auto o = std::make_shared<Options>();
  command.add_option("RUN", o->run, "RUN folder (its best epoch) or a checkpoint");
  CLI::Option* const model = command.add_option(
      "--model", o->model, "In place of RUN: a network with random weights, for measuring speed");
  command.add_option("--shift", o->shift, "With --model: its spatial operator (ssl)")->needs(model);
  command
      .add_option("--shift-sparsity", o->sparsity, "With --model: share of channels that do not move (0.7)")
      ->needs(model)
      ->check(CLI::Range(0.0, 1.0));
  command.add_option("--seed", o->seed, "With --model: of its weights (0)")->needs(model);
  command.add_option("--size", o->size, "Input, px (the size it was trained at)")->check(CLI::Range(1, 4096));
  command.add_option("--out", o->out, "MODEL.onnx to write")->required();
  command.footer(
      "Standard ONNX, opset 13: input `image` [N,3,size,size] float32, output `logits`. Batch norm is "
      "folded\n"
      "away, a shift is a depthwise Conv whose kernels have a single 1. The file's metadata has class "
      "names,\n"
      "preprocessing and displacements.");
  return [o] { return run(*o); };
}

}  // namespace fewshift::cli
