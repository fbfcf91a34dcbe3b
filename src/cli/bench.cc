// fewshift bench
// SPDX-License-Identifier: Apache-2.0
#include "cli/bench.h"

#include <CLI/CLI.hpp>

#include "cli/commands.h"
#include "cli/ranges.h"
#include "core/error.h"

namespace fewshift::cli {
namespace {

int run(const BenchOptions& o) {
  if (!o.model.empty() + !o.train.empty() + !o.data.empty() != 1)
    throw Error(ErrorCode::kInvalidArgument, "bench", "wants one of MODEL.onnx, --train NAME and --data DIR");
#ifdef FEWSHIFT_TRAIN
  if (!o.data.empty()) return bench_data(o);
  if (!o.train.empty()) return bench_train(o);
#endif
  return bench_model(o);
}

}  // namespace

Action bench_command(CLI::App& command) {
  auto o = std::make_shared<BenchOptions>();
  command.add_option("MODEL", o->model, "MODEL.onnx, to be measured on random pictures");
#ifdef FEWSHIFT_TRAIN
  CLI::Option* const train = command.add_option(
      "--train", o->train, "In place of MODEL: the network whose training step is measured");
  CLI::Option* const data = command.add_option(
      "--data", o->data, "In place of MODEL: the folder whose pictures are made ready for training");
  command.add_option("--scale-min", o->scale_min, "With --data: the smallest area of a crop (0.35)")
      ->check(between(0.001, 1));
  command.add_option("--rand-augment", o->rand_augment, "With --data: as train's (0)")
      ->check(CLI::Range(0, 16))
      ->needs(data);
#endif
  command.add_option("--batch", o->batch, "Pictures at a time (1; with --train and --data 64)")
      ->check(CLI::Range(1, 65536));
  command.add_option("--threads", o->threads, "Of the arithmetic (all cores)")->check(CLI::Range(0, 1024));
  command
      .add_option("--steps", o->steps,
                  "Runs or steps measured, after some that are not (100; with --train 15)")
      ->check(CLI::Range(1, 1000000));
  command.add_flag("--layers", o->layers, "The time of each layer; with --train of each unit");
#ifdef FEWSHIFT_TRAIN
  command.add_option("--size", o->size, "Input size in px (with --train the network's own; with --data 224)")
      ->check(CLI::Range(8, 1024));
  command
      .add_option("--shift-sparsity", o->sparsity,
                  "With --train: fixed random shifts of this sparsity (default: all learn, +-1.5 px)")
      ->check(between(0, 1))
      ->needs(train);
  command.add_option("--shift", o->shift, "With --train: spatial operator, as train's (ssl)")->needs(train);
  command.add_option("--precision", o->precision, "With --train: float32, or bf16: products of bfloat16s")
      ->check(CLI::IsMember({"float32", "bf16"}))
      ->needs(train);
  command.add_option("--fused", o->fused, "With --train: on, or off: every layer an operator of its own")
      ->check(CLI::IsMember({"on", "off"}))
      ->needs(train);
  command
      .add_option(
          "--hidden", o->hidden,
          "With --train: hidden activations for the backward pass: bf16, float32, recompute or auto (bf16)")
      ->needs(train);
#endif
  command.add_flag("--json", o->json, "One JSON object on standard output");
  command.footer(
      "The median counts. The peak is that of fp32 multiply-adds on as many threads, measured in the same "
      "run; the\n"
      "share of it counts useful operations alone. The share spent on shifts is 1 - (time of the same "
      "network with all\n"
      "displacements zero) / time, the two taking turns. A training step is forward, backward and SGD.");
  return [o] { return run(*o); };
}

}  // namespace fewshift::cli
