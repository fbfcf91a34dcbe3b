// fewshift train
// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <map>
#include <optional>
#include <vector>

#include "cli/commands.h"
#include "cli/program.h"
#include "cli/progress.h"
#include "cli/ranges.h"
#include "cli/suggest.h"
#include "cli/tensorboard.h"
#include "cli/waiting.h"
#include "core/error.h"
#include "core/memory.h"
#include "train/launch.h"
#include "train/recipe.h"
#include "train/run_files.h"
#include "train/trainer.h"

namespace fewshift::cli {
namespace {

std::atomic<bool> g_stop{false};

std::atomic<std::time_t> g_asked{0};
std::atomic<bool> g_launched{false};

extern "C" void on_signal(int) {
  const std::time_t now = std::time(nullptr);
  if (!g_stop.exchange(true)) {
    g_asked = now;
  } else if (!g_launched || now > g_asked + 1) {  // a launcher passes on what the terminal has sent already
    std::_Exit(kInterrupted);                     // asked twice: now
  }
}

struct Options {
  std::string out, recipe, tensorboard, device = "auto";
  bool resume = false;
  double timeout = 45;  // s
  std::vector<std::string> set;
  std::map<std::string, std::string> named;      // option -> what was given: "--lr" -> "0.05"
  std::map<std::string, CLI::Option*> declared;  // whether it was
};

// The names of all fields, as --set has them.
std::vector<std::string> field_names() {
  std::vector<std::string> names;
  for (const auto& [name, value] : field_values(Recipe{})) names.push_back(name);
  return names;
}

// Sets one field from the command line, once.
void set_given(Recipe& recipe, const std::string& field, const std::string& value, const std::string& how,
               std::map<std::string, std::string>& given) {
  const auto [before, first] = given.emplace(field, how);
  if (!first)
    throw UsageError(how, "gives " + field + " a second value; " + before->second + " gives it one");
  try {
    set_field(recipe, field, value, how);
  } catch (const Error& error) {
    throw UsageError(how, error.message());
  }
}

// Calls f(option, field name) for the options that were given, in the order of the recipe.
template <class F>
void for_given(const Options& o, F f) {
  const Recipe usual;
  visit_fields(usual,
               [&](const char* section, const char* key, const auto&, const char*, const char* option) {
                 if (!*option || o.declared.at(option)->count() == 0) return;
                 const std::string& value = o.named.at(option);
                 if (value.empty()) throw UsageError(option, "is empty");
                 f(std::string(option), std::string(section) + "." + key, value);
               });
}

// What is wrong with the recipe is wrong usage where the command line says it, or leaves out what only it can
// say.
void check_given(const Recipe& recipe, const std::map<std::string, std::string>& given) {
  try {
    check_recipe(recipe);
  } catch (const Error& error) {
    if (recipe.model.empty() || recipe.data.empty()) throw UsageError(error.where(), error.message());
    visit_fields(recipe,
                 [&](const char* section, const char* key, const auto&, const char*, const char* option) {
                   const std::string field = std::string(section) + "." + key;
                   if ((error.where() == field || error.where() == option) && given.count(field))
                     throw UsageError(given.at(field), error.message());
                 });
    throw;
  }
}

Recipe gather(const Options& o) {
  Recipe recipe;
  if (!o.recipe.empty()) read_recipe(o.recipe, recipe);
  const Recipe before = recipe;
  std::map<std::string, std::string> given;  // fields named on the command line -> by what
  for (const std::string& assignment : o.set) {
    const size_t equals = assignment.find('=');
    if (equals == std::string::npos)
      throw UsageError("--set " + assignment, "must be FIELD=VALUE, as in shift.rate=0.02");
    const std::string field = assignment.substr(0, equals);
    const std::vector<std::string> fields = field_names();
    if (!std::binary_search(fields.begin(), fields.end(), field))
      throw UsageError("--set " + field, "there is no such field in a recipe" + was_meant(field, fields));
    set_given(recipe, field, assignment.substr(equals + 1), "--set " + field, given);
  }
  for_given(o, [&](const std::string& option, const std::string& field, const std::string& value) {
    set_given(recipe, field, value, option, given);
  });
  // A penalty asked for decides the sparsity itself, unless that is asked for too.
  const Recipe usual;
  if (given.count("shift.penalty") && !given.count("shift.sparsity") && recipe.shift == "ssl" &&
      recipe.sparsity == usual.sparsity) {
    recipe.sparsity = -1;
  }
  // Another optimiser than the file's does not take over its rates.
  if (recipe.optimiser != before.optimiser) {
    if (!given.count("train.learning_rate")) recipe.learning_rate = usual.learning_rate;
    if (!given.count("train.weight_decay")) recipe.weight_decay = usual.weight_decay;
  }
  check_given(recipe, given);
  return recipe;
}

// A resumed run keeps its recipe; naming another value than it has is a mistake worth stopping at.
Recipe resumed(const Options& o) {
  if (!std::filesystem::exists(RunFiles(o.out).config()))
    throw Error(ErrorCode::kNotFound, "--resume " + o.out,
                "no run has begun there, or it ended before its first step: leave --resume out to begin it");
  Recipe recipe = read_run_recipe(o.out, "--resume " + o.out);
  if (!o.recipe.empty() || !o.set.empty()) {
    throw Error(ErrorCode::kInvalidArgument, o.recipe.empty() ? "--set" : "--recipe",
                "has no place beside --resume: the run keeps its recipe");
  }
  for_given(o, [&](const std::string& option, const std::string& field, const std::string& value) {
    Recipe asked = recipe;
    set_field(asked, field, value, option);
    if (option == "--data") {
      recipe.data = value;  // the folder may have moved; that it holds the same pictures is checked
    } else if (field_values(asked) != field_values(recipe)) {
      throw Error(ErrorCode::kInvalidArgument, option,
                  "differs from that of the run to resume; leave it out");
    }
  });
  return recipe;
}

// Whether this is the same command again, started anew by the launcher, and the run that it had begun is
// there.
bool goes_on(const Options& o, const std::optional<Launch>& launch, const Recipe& asked) {
  if (!launch || launch->restarts == 0 || !std::filesystem::exists(o.out + "/config.toml")) return false;
  Recipe begun = read_run_recipe(o.out, "--out " + o.out), same = resolved(asked);
  begun.threads = same.threads = 0;  // another machine may have other cores
  return field_values(begun) == field_values(same);
}

// "auto" is a GPU where there is one that this build can use. Of several processes on a machine each has its
// own.
torch::Device device_of(const Options& o, const std::optional<Launch>& launch) {
#ifdef FEWSHIFT_CUDA
  const auto gpus = static_cast<int>(torch::cuda::device_count());
#else
  const int gpus = 0;
#endif
  if (o.device == "cpu" || (o.device == "auto" && gpus == 0)) return torch::kCPU;
  const int own = launch ? launch->local_rank : 0;
  if (gpus == 0)
    throw Error(ErrorCode::kUnsupported, "--device cuda",
                "there is no GPU, or this build is without CUDA (FEWSHIFT_CUDA)");
  if (own >= gpus)
    throw Error(
        ErrorCode::kInvalidArgument, "--device cuda",
        "process " + std::to_string(own) + " of this machine has no GPU: there are " + std::to_string(gpus));
  return {torch::kCUDA, static_cast<c10::DeviceIndex>(own)};
}

void hear_signals() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) std::signal(signal, on_signal);
}

TrainResult train_with(World& world, const Options& o, const std::optional<Launch>& launch,
                       TrainObserver& observer, Recipe& recipe) {
  bool resume = o.resume;
  if (world.leads()) {
    recipe = o.resume ? resumed(o) : gather(o);
    if (!resume && goes_on(o, launch, recipe)) recipe = read_run_recipe(o.out, "--out"), resume = true;
  }
  return train(recipe, o.out, resume, observer, g_stop, world, device_of(o, launch));
}

// Silent: another process of a launch speaks.
struct Silent : TrainObserver {
  void on_message(const std::string&) override {}
  void on_step(const StepReport&) override {}
  void on_epoch(const EpochReport&) override {}
};

int report(const Options& o, const std::optional<Launch>& launch, World& world) {
  Progress progress;
  Silent silent;
  std::optional<TensorBoard> board;
  if (!o.tensorboard.empty() && world.leads()) board.emplace(o.tensorboard, progress);
  TrainObserver& observer = !world.leads() ? static_cast<TrainObserver&>(silent)
                            : board        ? static_cast<TrainObserver&>(*board)
                                           : progress;
  Recipe recipe;
  const TrainResult result = train_with(world, o, launch, observer, recipe);
  if (result.interrupted) return kInterrupted;
  if (!world.leads()) return kDone;
  std::fprintf(stderr, "done: %s", o.out.c_str());
  if (result.shift_sparsity >= 0)
    std::fprintf(stderr, "  shift sparsity %.1f%%", 100 * result.shift_sparsity);
  if (result.best_val_top1 >= 0) std::fprintf(stderr, "  best val top-1 %.1f%%", 100 * result.best_val_top1);
  std::fprintf(stderr, "\n  %s eval %s\n", program_name().c_str(), o.out.c_str());
  return kDone;
}

// What ends a run that has begun stands in its log too.
void note_failure(const Options& o, const World& world, const std::string& what) {
  const RunFiles files(o.out);
  if (!world.leads() || !std::filesystem::exists(files.state())) return;
  try {
    files.append_log(what);
  } catch (const Error&) {  // the disk may be what fails
  }
}

// One of several processes. When one fails, all end, and one of them says why.
int run_launched(const Options& o, const Launch& launch) {
  World world(launch, o.timeout, device_of(o, launch));
  hear_signals();
  try {
    return report(o, launch, world);
  } catch (const std::exception& error) {
    note_failure(o, world, error.what());
    if (world.speaks_of_failure()) {
      const int code = tell([]() -> int { throw; });
      std::fflush(stderr);
      std::_Exit(code);
    }
    std::_Exit(kFailed);  // what is under way with the others would be waited for
  }
}

int run(const Options& o) {
  const std::optional<Launch> launch = launch_from([](const char* name) { return std::getenv(name); });
  g_launched = launch && launch->size > 1;
  wait_briefly();
  use_huge_pages();
  if (g_launched) return run_launched(o, *launch);
  World alone;
  hear_signals();
  return report(o, launch, alone);
}
}  // namespace

Action train_command(CLI::App& command) {
  auto o = std::make_shared<Options>();
  command.add_option("--out", o->out, "RUN folder to make (with --resume: to continue)")->required();
  command.add_option("--recipe", o->recipe, "TOML file of settings; RUN/config.toml of another run is one");
  command.add_option("--set", o->set, "FIELD=VALUE: any one setting of the recipe, as in shift.rate=0.02");
  const Recipe usual;
  const auto defaults = field_values(usual);
  visit_fields(usual, [&](const char* section, const char* key, const auto& field, const char* help,
                          const char* option) {
    if (!*option) return;
    const std::string normal = defaults.at(std::string(section) + "." + key);
    std::string text = normal.empty() ? help : std::string(help) + " (" + normal + ")";
    CLI::Option* added = o->declared[option] = command.add_option(option, o->named[option], text);
    using Field = std::decay_t<decltype(field)>;
    if constexpr (!std::is_same_v<Field, std::string>) {
      added->check(CLI::TypeValidator<Field>(""));
      added->type_name(std::is_same_v<Field, double> ? "FLOAT" : "INT");
    }
  });
  command.add_option("--tensorboard", o->tensorboard,
                     "Also write what TensorBoard reads into this folder, an epoch a step");
  command.add_option("--device", o->device, "cpu, cuda, or auto: a GPU where there is one (auto)")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  command
      .add_option("--timeout", o->timeout,
                  "Of several processes: how long one waits for another before all end, s (45)")
      ->check(between(1, 86400));
  command.add_flag("--resume", o->resume, "Continue RUN where it stopped; its recipe stays as it is");
  command.footer(
      "RUN gets config.toml (every setting, explained), metrics.jsonl, log.txt, best.safetensors, "
      "last.safetensors\n"
      "and state.safetensors. Ctrl-C saves and stops; after that, or after a crash, --resume goes on as if "
      "nothing\n"
      "had happened. Where val/ is missing, a tenth of train/ takes its place; test/ is never looked at.\n"
      "Under torchrun --no-python, mpirun or srun the processes train together: see docs/scaling.md.");
  return [o] { return run(*o); };
}

}  // namespace fewshift::cli
