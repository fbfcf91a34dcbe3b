// fewshift bench
// SPDX-License-Identifier: Apache-2.0
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "arch/count.h"
#include "cli/commands.h"
#include "cli/threads.h"
#include "core/error.h"
#include "core/peak.h"
#include "nn/autocast.h"
#include "nn/conv_norm.h"
#include "train/network_start.h"

namespace fewshift::cli {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::string train, fused = "on", shift = "ssl", precision = "float32";
  int batch = 64, threads = 0, size = 0, steps = 15;
  double sparsity = -1;
  bool json = false;
};

double seconds(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

int run(const Options& o) {
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
  const auto images = torch::randn({o.batch, 3, size, size}).contiguous(at::MemoryFormat::ChannelsLast);
  const auto labels =
      torch::randint(std::get<Classifier>(arch.units.back().unit).classes, {o.batch}, torch::kLong);
  torch::optim::SGD optimiser(network->parameters(),
                              torch::optim::SGDOptions(0.01).momentum(0.9).nesterov(true));
  std::vector<double> times;
  for (int step = 0; step < o.steps + 3; ++step) {
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
  const double median = times[times.size() / 2], speed = o.batch / median;
  // Forward, gradient of the input and gradient of the weights: three products a multiply-add.
  const double gflops = 6e-9 * static_cast<double>(count(arch, size).madds) * speed;
  const double peak = peak_gflops(threads(o.threads));
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const double memory = static_cast<double>(usage.ru_maxrss) / 1024;
  if (o.json) {
    std::cout << nlohmann::json{{"model", o.train},
                                {"size", size},
                                {"batch", o.batch},
                                {"threads", threads(o.threads)},
                                {"fused", o.fused == "on"},
                                {"shift", o.shift},
                                {"precision", o.precision},
                                {"images_per_s", speed},
                                {"images_per_s_best", o.batch / times.front()},
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
        o.train.c_str(), size, o.batch, threads(o.threads), speed, o.batch / times.front(), gflops,
        100 * gflops / peak, peak, memory);
  }
  return kDone;
}

}  // namespace

Action bench_command(CLI::App& command) {
  auto o = std::make_shared<Options>();
  command.add_option("--train", o->train, "Network whose training step is measured, on random pictures")
      ->required();
  command.add_option("--batch", o->batch, "Pictures a step (64)")->check(CLI::Range(2, 65536));
  command.add_option("--size", o->size, "Input size in px (default: the network's own)")
      ->check(CLI::Range(8, 1024));
  command.add_option("--threads", o->threads, "Of the arithmetic (all cores)")->check(CLI::Range(0, 1024));
  command.add_option("--steps", o->steps, "Steps measured, after three that are not (15)")
      ->check(CLI::Range(1, 100000));
  command
      .add_option("--shift-sparsity", o->sparsity,
                  "Fixed random shifts of this sparsity (default: all learn, +-1.5 px)")
      ->check(CLI::Range(0.0, 1.0));
  command.add_option("--shift", o->shift, "Spatial operator, as train's (ssl)");
  command.add_option("--precision", o->precision, "float32, or bf16: autocast")
      ->check(CLI::IsMember({"float32", "bf16"}));
  command.add_option("--fused", o->fused, "on, or off: batch norm, ReLU and shift as three operators")
      ->check(CLI::IsMember({"on", "off"}));
  command.add_flag("--json", o->json, "One JSON object on standard output");
  command.footer(
      "A step is forward, backward and SGD; the median of the steps counts. The peak is that of fp32 "
      "multiply-adds on\n"
      "as many threads, measured in the same run; the share of it counts useful operations alone.");
  return [o] { return run(*o); };
}

}  // namespace fewshift::cli
