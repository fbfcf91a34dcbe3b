// fewshift bench --train NAME
// SPDX-License-Identifier: Apache-2.0
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "arch/count.h"
#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/torch_threads.h"
#include "core/error.h"
#include "core/peak.h"
#include "nn/autocast.h"
#include "nn/conv_norm.h"
#include "train/network_start.h"

namespace fewshift::cli {
namespace {

using Clock = std::chrono::steady_clock;

double seconds(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

int bench_train(const BenchOptions& o) {
  const int batch = o.batch > 0 ? o.batch : 64, steps = o.steps > 0 ? o.steps : 15;
  set_threads(o.threads);
  set_fused(o.fused == "on");
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
  const auto images = torch::randn({batch, 3, size, size}).contiguous(at::MemoryFormat::ChannelsLast);
  const auto labels =
      torch::randint(std::get<Classifier>(arch.units.back().unit).classes, {batch}, torch::kLong);
  torch::optim::SGD optimiser(network->parameters(),
                              torch::optim::SGDOptions(0.01).momentum(0.9).nesterov(true));
  std::vector<double> times;
  for (int step = 0; step < steps + 3; ++step) {
    const auto begin = Clock::now();
    optimiser.zero_grad();
    torch::Tensor logits;
    {
      const Autocast autocast(o.precision == "bf16");
      logits = network->forward(images).to(torch::kFloat);
    }
    torch::cross_entropy_loss(logits, labels).backward();
    optimiser.step();
    if (step >= 3) times.push_back(seconds(begin));
  }
  std::sort(times.begin(), times.end());
  const double median = times[times.size() / 2], speed = batch / median;
  // Forward, gradient of the input and gradient of the weights: three products a multiply-add.
  const double gflops = 6e-9 * static_cast<double>(count(arch, size).madds) * speed;
  const double peak = peak_gflops(threads(o.threads));
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const double memory = static_cast<double>(usage.ru_maxrss) / 1024;
  if (o.json) {
    std::cout << nlohmann::json{{"model", o.train},
                                {"size", size},
                                {"batch", batch},
                                {"threads", threads(o.threads)},
                                {"fused", o.fused == "on"},
                                {"shift", o.shift},
                                {"precision", o.precision},
                                {"images_per_s", speed},
                                {"images_per_s_best", batch / times.front()},
                                {"gflops", gflops},
                                {"peak_gflops", peak},
                                {"peak_fraction", gflops / peak},
                                {"peak_memory_mb", memory}}
                     .dump()
              << '\n';
  } else {
    std::printf(
        "%s  %d px  batch %d  %d threads: %.1f images/s (best %.1f)  %.1f GFLOP/s, %.0f%% of the peak of "
        "%.0f  %.0f MB\n",
        o.train.c_str(), size, batch, threads(o.threads), speed, batch / times.front(), gflops,
        100 * gflops / peak, peak, memory);
  }
  return kDone;
}

}  // namespace fewshift::cli
