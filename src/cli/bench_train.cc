// fewshift bench --train NAME
// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "arch/count.h"
#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/memory.h"
#include "cli/torch_threads.h"
#include "core/error.h"
#include "core/json_text.h"
#include "core/memory.h"
#include "core/peak.h"
#include "nn/autocast.h"
#include "nn/conv_norm.h"
#include "train/network_start.h"

namespace fewshift::cli {
namespace {

using Clock = std::chrono::steady_clock;
using torch::Tensor;

double seconds(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// The units of a network, and the seconds of each in every step.
struct Part {
  std::string name;
  double madds = 0;
  std::vector<double> forward, backward;
};

struct Times {
  std::vector<Part> parts;
  std::vector<double> steps, loss, optimiser;
  std::vector<double> peaks;  // GFLOP/s, beside the steps
};

std::vector<Part> parts_of(const Arch& arch, int size) {
  std::vector<Part> parts;
  const Count counted = count(arch, size);
  for (const NamedUnit& unit : arch.units) {
    parts.push_back({unit.name, 0, {}, {}});
    for (const LayerCount& layer : counted.layers) {
      if (layer.name == unit.name || layer.name.starts_with(unit.name + "."))
        parts.back().madds += static_cast<double>(layer.madds);
    }
  }
  return parts;
}

// The peak at this moment: others may be using the machine.
double peak_now() {
  constexpr int64_t kRounds = 2'000'000;
  const int threads = at::get_num_threads();
  std::vector<double> operations(threads);
  const auto begin = Clock::now();
  at::parallel_for(0, threads, 1, [&](int64_t first, int64_t end) {
    for (int64_t t = first; t < end; ++t) operations[t] = multiply_adds(kRounds);
  });
  return std::accumulate(operations.begin(), operations.end(), 0.0) / seconds(begin, Clock::now()) / 1e9;
}

// A unit's backward pass lies between the gradient of its output and that of its input.
void step(Network& network, const Tensor& images, const Tensor& labels, torch::optim::Optimizer& optimiser,
          bool autocasts, bool counts, Times& times) {
  const size_t n = times.parts.size();
  std::vector<Clock::time_point> forward(n + 1), backward(n + 1);
  const auto begin = Clock::now();
  optimiser.zero_grad();
  const auto cleared = forward[0] = Clock::now();
  Tensor x = images.contiguous(at::MemoryFormat::ChannelsLast);
  {
    const Autocast autocast(autocasts);
    for (size_t k = 0; k < n; ++k) {
      x = network->units()[k]->forward(x);
      x.register_hook([&backward, k](const Tensor&) { backward[k] = Clock::now(); });
      forward[k + 1] = Clock::now();
    }
  }
  torch::cross_entropy_loss(x.to(torch::kFloat), labels).backward();
  const auto differentiated = Clock::now();
  optimiser.step();
  const auto end = Clock::now();
  if (!counts) return;
  for (size_t k = 0; k < n; ++k) {
    times.parts[k].forward.push_back(seconds(forward[k], forward[k + 1]));
    times.parts[k].backward.push_back(seconds(backward[k], k > 0 ? backward[k - 1] : differentiated));
  }
  times.loss.push_back(seconds(forward[n], backward[n - 1]));
  times.optimiser.push_back(seconds(begin, cleared) + seconds(differentiated, end));
  times.steps.push_back(seconds(begin, end));
}

// Time and arithmetic of some parts: forward, gradient of the input and gradient of the weights are three
// products a multiply-add.
struct Row {
  std::string name;
  double forward = 0, backward = 0, madds = 0;
  void add(const Part& part) {
    forward += median(part.forward), backward += median(part.backward), madds += part.madds;
  }
  double gflops(int batch) const { return 6e-9 * madds * batch / (forward + backward); }
};

}  // namespace

int bench_train(const BenchOptions& o) {
  const int batch = o.batch > 0 ? o.batch : 64, steps = o.steps > 0 ? o.steps : 15;
  use_huge_pages();
  set_threads(all_threads(o.threads));
  set_fused(o.fused == "on");
  set_hidden(o.hidden);
  set_bf16_products(o.precision == "bf16");
  const double peak = peak_gflops(all_threads(o.threads));  // before OpenMP has threads that wait by spinning
  Recipe recipe;
  recipe.model = o.train;
  recipe.shift = o.shift;
  if (o.sparsity >= 0) {
    if (o.shift != "ssl" && o.shift != "random")
      throw Error(ErrorCode::kInvalidArgument, "--shift-sparsity", "goes with --shift ssl or random");
    recipe.shift = "random";
    recipe.sparsity = o.sparsity;
  }
  const Arch arch = arch_of(recipe);
  const int size = o.size > 0 ? o.size : arch.size;
  Network network(arch, 0);
  start_network(recipe, {}, false, network);
  const Tensor images = torch::randn({batch, 3, size, size});
  const Tensor labels =
      torch::randint(std::get<Classifier>(arch.units.back().unit).classes, {batch}, torch::kLong);
  torch::optim::SGD optimiser(network->parameters(),
                              torch::optim::SGDOptions(0.01).momentum(0.9).nesterov(true));
  Times times{parts_of(arch, size), {}, {}, {}, {}};
  const double before = resident_memory_mb();
  for (int k = 0; k < steps + 3; ++k) {
    times.peaks.push_back(peak_now());
    step(network, images, labels, optimiser, o.precision == "bf16" && !network->fuses(), k >= 3, times);
  }
  const double memory = peak_memory_mb();
  Row units{"units"}, rest{"stem and classifier"}, all{"step"};
  std::vector<Row> rows;
  for (const Part& part : times.parts) {
    (part.name.starts_with("units.") ? units : rest).add(part);
    rows.push_back({part.name});
    rows.back().add(part);
  }
  const double loss = median(times.loss), optimising = median(times.optimiser), whole = median(times.steps),
               beside = median(times.peaks);
  const double best = *std::min_element(times.steps.begin(), times.steps.end());
  all.madds = units.madds + rest.madds, all.forward = whole;
  auto describe = [&](const Row& row) {
    return nlohmann::json{{"name", row.name},
                          {"forward_ms", 1e3 * row.forward},
                          {"backward_ms", 1e3 * row.backward},
                          {"madds", row.madds},
                          {"peak_fraction", row.gflops(batch) / peak},
                          {"peak_beside_fraction", row.gflops(batch) / beside}};
  };
  if (o.json) {
    nlohmann::json result = {{"model", o.train},
                             {"size", size},
                             {"batch", batch},
                             {"threads", all_threads(o.threads)},
                             {"fused", o.fused == "on"},
                             {"hidden", o.hidden},
                             {"shift", o.shift},
                             {"precision", o.precision},
                             {"images_per_s", batch / whole},
                             {"images_per_s_best", batch / best},
                             {"gflops", all.gflops(batch)},
                             {"peak_gflops", peak},
                             {"peak_fraction", all.gflops(batch) / peak},
                             {"peak_beside_gflops", beside},
                             {"peak_beside_fraction", all.gflops(batch) / beside},
                             {"peak_memory_mb", memory},
                             {"step_memory_mb", memory - before},
                             {"kinds", {describe(units), describe(rest)}},
                             {"loss_ms", 1e3 * loss},
                             {"optimiser_ms", 1e3 * optimising}};
    for (const Row& row : rows) {
      if (o.layers) result["layers"].push_back(describe(row));
    }
    std::cout << json_text(result) << '\n';
    return kDone;
  }
  std::printf(
      "%s  %d px  batch %d  %d threads: %.1f images/s (best %.1f)  %.1f GFLOP/s, %.0f%% of the peak of "
      "%.0f, %.0f%% of the %.0f beside the steps  %.0f MB, %.0f of them the step's\n",
      o.train.c_str(), size, batch, all_threads(o.threads), batch / whole, batch / best, all.gflops(batch),
      100 * all.gflops(batch) / peak, peak, 100 * all.gflops(batch) / beside, beside, memory,
      memory - before);
  std::printf("%-24s %11s %11s %9s %6s %6s\n", "", "forward ms", "backward ms", "M-Adds", "peak", "beside");
  auto print = [&](const Row& row) {
    std::printf("%-24s %11.2f %11.2f %8.2fM %5.1f%% %5.1f%%\n", row.name.c_str(), 1e3 * row.forward,
                1e3 * row.backward, row.madds / 1e6, 100 * row.gflops(batch) / peak,
                100 * row.gflops(batch) / beside);
  };
  for (const Row& row : rows) {
    if (o.layers) print(row);
  }
  print(units);
  print(rest);
  std::printf("%-24s %11.2f\n%-24s %11.2f\n", "loss", 1e3 * loss, "optimiser", 1e3 * optimising);
  return kDone;
}

}  // namespace fewshift::cli
