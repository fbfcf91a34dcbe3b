// fewshift bench MODEL.onnx
// SPDX-License-Identifier: Apache-2.0
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/threads.h"
#include "core/json_text.h"
#include "core/peak.h"
#include "core/random.h"
#include "engine/engine.h"
#include "graph/onnx/onnx.h"
#include "graph/passes/passes.h"
#include "kernels/kernels.h"

namespace fewshift::cli {
namespace {

using engine::Model;
using engine::Session;

double seconds_of(Session& session, const std::vector<float>& x, std::vector<float>& y) {
  const auto begin = std::chrono::steady_clock::now();
  session.run(x.data(), y.data());
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Whether a channel moves at all; then none does.
bool still(graph::Graph& graph) {
  bool moved = false;
  graph::recognise_shift(graph);
  for (graph::Node& node : graph.nodes) {
    if (auto* shift = std::get_if<graph::Shift>(&node.op)) {
      for (auto& move : shift->moves) {
        moved |= move[0] != 0 || move[1] != 0;
        move = {0, 0};
      }
    }
  }
  return moved;
}

struct Times {
  std::vector<double> sorted;
  double median() const { return sorted[sorted.size() / 2]; }
  double quantile(double q) const {
    return sorted[static_cast<size_t>(q * static_cast<double>(sorted.size() - 1))];
  }
};

nlohmann::json layer_rows(const std::vector<Session::Layer>& layers, double peak) {
  nlohmann::json rows = nlohmann::json::array();
  for (const Session::Layer& layer : layers) {
    nlohmann::json row = {{"name", layer.name},         {"kind", layer.kind},   {"ms", 1e3 * layer.seconds},
                          {"min_ms", 1e3 * layer.best}, {"madds", layer.madds}, {"shifts", layer.shifts}};
    if (layer.madds > 0) row["peak_fraction"] = 2e-9 * layer.madds / layer.best / peak;
    rows.push_back(row);
  }
  return rows;
}

void print_layers(const std::vector<Session::Layer>& layers, double peak) {
  std::printf("%-28s %-10s %10s %10s %9s %7s\n", "layer", "kind", "mean us", "best us", "M-Adds", "peak");
  for (const Session::Layer& layer : layers) {
    std::printf("%-28s %-10s %10.1f %10.1f %8.3fM", layer.name.c_str(),
                layer.shifts ? "shifted" : layer.kind.c_str(), 1e6 * layer.seconds, 1e6 * layer.best,
                layer.madds / 1e6);
    if (layer.madds > 0) std::printf(" %6.1f%%", 200e-9 * layer.madds / layer.best / peak);
    std::printf("\n");
  }
}

}  // namespace

int bench_model(const BenchOptions& o) {
  const int workers = threads(o.threads), batch = o.batch > 0 ? o.batch : 1,
            steps = o.steps > 0 ? o.steps : 100;
  const auto began = std::chrono::steady_clock::now();
  graph::Graph graph = graph::read_onnx(o.model);
  const auto model = Model::from(graph);
  Session session(model, batch, workers);
  const double loading = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  std::unique_ptr<Session> unmoved;
  if (still(graph)) unmoved = std::make_unique<Session>(Model::from(std::move(graph)), batch, workers);
  Random random{0};
  std::vector<float> x(batch * graph::elements(model->input_dims())),
      y(batch * graph::elements(model->output_dims()));
  for (float& value : x) value = static_cast<float>(random.normal());

  Times times, without;
  for (int k = 0; k < steps + 5; ++k) {
    const double with = seconds_of(session, x, y), zero = unmoved ? seconds_of(*unmoved, x, y) : with;
    if (k < 5) continue;
    times.sorted.push_back(with), without.sorted.push_back(zero);
  }
  std::sort(times.sorted.begin(), times.sorted.end());
  std::sort(without.sorted.begin(), without.sorted.end());
  const double peak = peak_gflops(workers);
  const double gflops = 2e-9 * static_cast<double>(model->madds() * batch) / times.median();
  const double shifts = 1 - without.median() / times.median();
  std::vector<Session::Layer> layers;
  if (o.layers) {
    session.profile(true);
    for (int k = 0; k < steps; ++k) session.run(x.data(), y.data());
    layers = session.layers();
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const double memory = static_cast<double>(usage.ru_maxrss) / 1024;
  if (o.json) {
    nlohmann::json result = {{"model", model->name()},
                             {"batch", batch},
                             {"threads", workers},
                             {"isa", kernels().isa},
                             {"median_ms", 1e3 * times.median()},
                             {"min_ms", 1e3 * times.sorted.front()},
                             {"p10_ms", 1e3 * times.quantile(0.1)},
                             {"p90_ms", 1e3 * times.quantile(0.9)},
                             {"madds", model->madds()},
                             {"gflops", gflops},
                             {"peak_gflops", peak},
                             {"peak_fraction", gflops / peak},
                             {"shift_fraction", shifts},
                             {"load_ms", 1e3 * loading},
                             {"activations_mb", static_cast<double>(session.memory_bytes()) / 1e6},
                             {"peak_memory_mb", memory}};
    if (o.layers) result["layers"] = layer_rows(layers, peak);
    std::cout << json_text(result) << '\n';
    return kDone;
  }
  std::printf(
      "%s  batch %d  %d threads  %s: median %.3f ms, best %.3f, 80%% between %.3f and %.3f\n"
      "%.1fM M-Adds, %.1f GFLOP/s, %.0f%% of the peak of %.0f; shifts %.1f%%; loaded in %.1f ms; %.1f MB of "
      "activations, "
      "%.0f MB in all\n",
      model->name().c_str(), batch, workers, kernels().isa, 1e3 * times.median(), 1e3 * times.sorted.front(),
      1e3 * times.quantile(0.1), 1e3 * times.quantile(0.9), static_cast<double>(model->madds()) / 1e6, gflops,
      100 * gflops / peak, peak, 100 * shifts, 1e3 * loading,
      static_cast<double>(session.memory_bytes()) / 1e6, memory);
  if (o.layers) print_layers(layers, peak);
  return kDone;
}

}  // namespace fewshift::cli
