// fewshift train
// SPDX-License-Identifier: Apache-2.0
#include <csignal>
#include <cstdio>
#include <optional>

#include "cli/commands.h"
#include "cli/progress.h"
#include "core/error.h"
#include "train/recipe.h"
#include "train/trainer.h"

namespace fewshift::cli {
namespace {

std::atomic<bool> g_stop{false};

extern "C" void on_signal(int) {
  if (g_stop.exchange(true)) std::_Exit(kInterrupted);  // asked twice: now
}

struct Options {
  std::string out, recipe;
  bool resume = false;
  std::vector<std::string> set;
  std::optional<std::string> model, data, shift, shift_from;
  std::optional<int64_t> size, epochs, batch, seed, threads;
  std::optional<double> learning_rate, penalty, sparsity;
};

template <class T>
void take(const std::optional<T>& option, T& field) {
  if (option) field = *option;
}

Recipe gather(const Options& o) {
  Recipe recipe;
  if (!o.recipe.empty()) read_recipe(o.recipe, recipe);
  for (const std::string& assignment : o.set) {
    const size_t equals = assignment.find('=');
    if (equals == std::string::npos) {
      throw Error(ErrorCode::kInvalidArgument, "--set " + assignment,
                  "must be FIELD=VALUE, as in shift.rate=0.02");
    }
    set_field(recipe, assignment.substr(0, equals), assignment.substr(equals + 1));
  }
  take(o.model, recipe.model);
  take(o.data, recipe.data);
  take(o.shift, recipe.shift);
  take(o.shift_from, recipe.shift_from);
  take(o.size, recipe.size);
  take(o.epochs, recipe.epochs);
  take(o.batch, recipe.batch);
  take(o.seed, recipe.seed);
  take(o.threads, recipe.threads);
  take(o.learning_rate, recipe.learning_rate);
  take(o.penalty, recipe.penalty);
  take(o.sparsity, recipe.sparsity);
  // A penalty asked for by hand decides the sparsity itself.
  if (o.penalty && !o.sparsity) recipe.sparsity = -1;
  return recipe;
}

// A resumed run keeps its recipe; naming another value than it has is a mistake worth stopping at.
template <class T>
void check_same(const std::optional<T>& option, const T& field, const char* name) {
  if (option && *option != field) {
    throw Error(ErrorCode::kInvalidArgument, name, "differs from that of the run to resume; leave it out");
  }
}

Recipe resumed(const Options& o) {
  Recipe recipe = read_run_recipe(o.out);
  take(o.data, recipe.data);  // the folder may have moved; that it holds the same pictures is checked
  check_same(o.model, recipe.model, "--model");
  check_same(o.shift, recipe.shift, "--shift");
  check_same(o.shift_from, recipe.shift_from, "--shift-from");
  check_same(o.size, recipe.size, "--size");
  check_same(o.epochs, recipe.epochs, "--epochs");
  check_same(o.batch, recipe.batch, "--batch");
  check_same(o.seed, recipe.seed, "--seed");
  check_same(o.threads, recipe.threads, "--threads");
  check_same(o.learning_rate, recipe.learning_rate, "--lr");
  check_same(o.penalty, recipe.penalty, "--shift-penalty");
  check_same(o.sparsity, recipe.sparsity, "--shift-sparsity");
  if (!o.recipe.empty() || !o.set.empty()) {
    throw Error(ErrorCode::kInvalidArgument, o.recipe.empty() ? "--set" : "--recipe",
                "has no place beside --resume: the run keeps its recipe");
  }
  return recipe;
}

int run(const Options& o) {
  const Recipe recipe = o.resume ? resumed(o) : gather(o);
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  std::signal(SIGHUP, on_signal);
  Progress progress;
  const TrainResult result = train(recipe, o.out, o.resume, progress, g_stop);
  if (result.interrupted) return kInterrupted;
  std::fprintf(stderr, "done: %s  shift sparsity %.1f%%", o.out.c_str(), 100 * result.shift_sparsity);
  if (result.best_val_top1 >= 0) std::fprintf(stderr, "  best val top-1 %.1f%%", 100 * result.best_val_top1);
  std::fprintf(stderr, "\n  fewshift eval %s --data %s\n", o.out.c_str(), recipe.data.c_str());
  return kDone;
}

}  // namespace

Action train_command(CLI::App& command) {
  auto o = std::make_shared<Options>();
  command.add_option("--model", o->model, "Network, as `fewshift models` lists them");
  command.add_option("--data", o->data,
                     "Image folder (train/CLASS/*.jpg, val/ and test/ beside it) or CIFAR binaries");
  command.add_option("--out", o->out, "RUN folder to make (with --resume: to continue)")->required();
  command.add_option("--recipe", o->recipe, "TOML file of settings; RUN/config.toml of another run is one");
  command.add_option("--set", o->set, "FIELD=VALUE: any one setting of the recipe, as in shift.rate=0.02");
  command.add_option("--size", o->size, "Input size in px (default: the network's own)");
  command.add_option("--epochs", o->epochs, "Walks through the training pictures (30)");
  command.add_option("--batch", o->batch, "Pictures a step (64)");
  command.add_option("--lr", o->learning_rate, "Highest learning rate (0.1)");
  command.add_option("--shift-sparsity", o->sparsity,
                     "Share of channels that shall end unshifted, 0 to 1 (0.6)");
  command.add_option("--shift-penalty", o->penalty, "Lambda of the L1 shift penalty, instead of a target");
  command.add_option("--shift", o->shift, "ssl: learned shifts; random: fixed ones, as a control");
  command.add_option("--shift-from", o->shift_from,
                     "With --shift random: the run whose sparsity by layer is taken");
  command.add_option("--seed", o->seed, "Of weights, order, augmentation and shifts (0)");
  command.add_option("--threads", o->threads, "Of the arithmetic (all cores)");
  command.add_flag("--resume", o->resume, "Continue RUN where it stopped; its recipe stays as it is");
  command.footer(
      "RUN gets config.toml (every setting, explained), metrics.jsonl, log.txt, best.safetensors, "
      "last.safetensors\n"
      "and state.safetensors. Ctrl-C saves and stops; after that, or after a crash, --resume goes on as if "
      "nothing\n"
      "had happened. Where val/ is missing, a tenth of train/ takes its place; test/ is never looked at.");
  return [o] { return run(*o); };
}

}  // namespace fewshift::cli
