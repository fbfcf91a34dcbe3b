// fewshift bench MODEL.onnx
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/memory.h"
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
  void add(const Times& more) {
    sorted.insert(sorted.end(), more.sorted.begin(), more.sorted.end());
    std::sort(sorted.begin(), sorted.end());
  }
  double median() const { return sorted[sorted.size() / 2]; }
  double quantile(double q) const {
    return sorted[static_cast<size_t>(q * static_cast<double>(sorted.size() - 1))];
  }
};

// Of `steps` runs, after three that do not count.
Times run_times(Session& session, int steps, const std::vector<float>& x, std::vector<float>& y) {
  Times times;
  for (int k = 0; k < steps + 3; ++k) {
    const double seconds = seconds_of(session, x, y);
    if (k >= 3) times.sorted.push_back(seconds);
  }
  std::sort(times.sorted.begin(), times.sorted.end());
  return times;
}

// 1 - time with all displacements zero / time, the median of twenty pairs, one after the other. Each in turn
// a while alone: the one's weights push the other's out of the cache.
double shift_share(const std::string& file, Session& session, int batch, int workers, int steps,
                   const std::vector<float>& x, std::vector<float>& y) {
  graph::Graph graph = graph::read_onnx(file);
  if (!still(graph)) return 0;
  Session unmoved(Model::from(std::move(graph)), batch, workers);
  Times ratios;
  for (int turn = 0; turn < 20; ++turn) {
    const Times with = run_times(session, std::max(steps / 10, 1), x, y),
                without = run_times(unmoved, std::max(steps / 10, 1), x, y);
    ratios.add({{without.median() / with.median()}});
  }
  return 1 - ratios.median();
}

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
  double seconds = 0, best = 0, madds = 0;
  for (const Session::Layer& layer : layers) {
    std::printf("%-28s %-10s %10.1f %10.1f %8.3fM", layer.name.c_str(),
                layer.shifts ? "shifted" : layer.kind.c_str(), 1e6 * layer.seconds, 1e6 * layer.best,
                layer.madds / 1e6);
    if (layer.madds > 0) std::printf(" %6.1f%%", 200e-9 * layer.madds / layer.best / peak);
    std::printf("\n");
    seconds += layer.seconds, best += layer.best, madds += layer.madds;
  }
  std::printf("%-28s %-10s %10.1f %10.1f %8.3fM %6.1f%%\n", "sum", "", 1e6 * seconds, 1e6 * best, madds / 1e6,
              200e-9 * madds / best / peak);
}

}  // namespace

int bench_model(const BenchOptions& o) {
  const int workers = all_threads(o.threads), batch = o.batch > 0 ? o.batch : 1,
            steps = o.steps > 0 ? o.steps : 100;
  const auto began = std::chrono::steady_clock::now();
  const auto model = Model::load(o.model);
  Session session(model, batch, workers);
  const double loading = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  Random random{0};
  std::vector<float> x(batch * graph::elements(model->input_dims())),
      y(batch * graph::elements(model->output_dims()));
  for (float& value : x) value = static_cast<float>(random.normal());

  const Times times = run_times(session, steps, x, y);
  const double memory = peak_memory_mb();
  const double shifts = shift_share(o.model, session, batch, workers, steps, x, y);
  const double peak = peak_gflops(workers);
  const double gflops = 2e-9 * static_cast<double>(model->madds() * batch) / times.median();
  std::vector<Session::Layer> layers;
  if (o.layers) {
    session.profile(true);
    for (int k = 0; k < steps; ++k) session.run(x.data(), y.data());
    layers = session.layers();
  }
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
