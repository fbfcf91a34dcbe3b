// SPDX-License-Identifier: Apache-2.0
#include "train/trainer.h"

#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "arch/count.h"
#include "core/error.h"
#include "core/file.h"
#include "core/json_text.h"
#include "core/machine.h"
#include "core/safetensors.h"
#include "nn/autocast.h"
#include "nn/conv_norm.h"
#include "nn/displacements.h"
#include "ops/batch_norm_sums.h"
#include "train/checkpoint.h"
#include "train/epoch_record.h"
#include "train/evaluate.h"
#include "train/feed.h"
#include "train/network_start.h"
#include "train/run_files.h"
#include "train/run_progress.h"
#include "train/run_state.h"
#include "train/schedule.h"
#include "train/training_data.h"
#include "train/training_step.h"

namespace fewshift {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr double kSaveEverySeconds = 120;

double seconds_since(Clock::time_point then) {
  return std::chrono::duration<double>(Clock::now() - then).count();
}

class Trainer {
 public:
  Trainer(const Recipe& recipe, const RunFiles& files, TrainObserver& observer, const std::atomic<bool>& stop,
          bool resumed, World& world, torch::Device device)
      : recipe_(recipe),
        files_(files),
        observer_(observer),
        stop_(stop),
        world_(world),
        device_(device),
        size_(recipe.size > 0 ? static_cast<int>(recipe.size) : arch_of(recipe).size),
        preprocess_(preprocess_of(recipe, size_)),
        data_(open_training_data(recipe, preprocess_, world)),
        identity_(identity_of(recipe, data_)),
        feed_(data_.train, loader_options(recipe, preprocess_, world), device),
        batches_(feed_.batches()),
        frozen_steps_(recipe.freeze_body * batches_),
        learning_(start(resumed), recipe_, recipe.epochs * batches_ - frozen_steps_, world_),
        step_(recipe_, world_, learning_, class_weights(recipe, data_)) {
    if (static_cast<int64_t>(data_.train->size()) / batches_ < world.size())
      throw Error(ErrorCode::kInvalidArgument, "--batch " + std::to_string(recipe.batch),
                  "has fewer pictures than there are processes, " + std::to_string(world.size()));
  }

  // From the bytes of state.safetensors.
  void resume(const std::string& bytes) {
    const std::string remark = take_state(bytes, files_, recipe_, identity_, learning_, progress_);
    if (world_.leads()) write_file_atomic(files_.metrics(), progress_.metrics);
    if (!remark.empty()) say(remark);
    say("resumed at epoch " + std::to_string(progress_.epoch + 1) + ", step " +
        std::to_string(progress_.batch));
  }

  TrainResult run() {
    describe();
    if (!world_.alone() && !world_.agree(identity_.labels + names_fingerprint(data_) + digest(network())))
      throw Error(ErrorCode::kInvalidArgument, "--data " + recipe_.data,
                  "process " + std::to_string(world_.rank()) +
                      " sees other pictures, or begins with other weights, than another one");
    if (finished()) say("this run has finished already");
    // From here on a run that is killed can be resumed, however early.
    if (progress_.step == 0) save_state();
    last_save_ = Clock::now();
    bool interrupted = false;
    while (!finished() && !interrupted) interrupted = !run_epoch();
    return {interrupted, progress_.epoch, progress_.best_top1, progress_.best_sparsity};
  }

 private:
  bool finished() const { return progress_.stopped || progress_.epoch >= recipe_.epochs; }
  Network& network() { return learning_.network; }
  const Network& network() const { return learning_.network; }

  Network start(bool resumed) {
    Network network(arch_of(recipe_, static_cast<int>(data_.class_names.size())),
                    static_cast<uint64_t>(recipe_.seed));
    count(network->arch(), size_);  // refuses a size that the network cannot see
    first_words_ = start_network(recipe_, data_.class_names, resumed, network);
    network->to(device_);
    return network;
  }

  void describe() {
    say(describe_data(recipe_.data, data_));
    if (!world_.alone())
      say(std::to_string(world_.size()) + " processes, each with its share of every batch of " +
          std::to_string(recipe_.batch));
    if (!first_words_.empty()) say(first_words_);
    const bool fuses = set_fused(recipe_.fused == "on");
    set_hidden(recipe_.hidden);
    if (recipe_.fused == "on" && !fuses)
      say("this processor has neither AVX2 nor AVX-512: bottlenecks are not fused, every layer goes by "
          "itself");
    set_bf16_products(recipe_.precision == "bf16");
    if (!device_.is_cpu()) {
      say("on " + device_.str() + (feed_.on_device() ? ", and the pictures too" : ""));
      return;
    }
    const bool autocasts = recipe_.precision == "bf16" && !network()->fuses();
    if (autocasts && !multiplies_bfloat16())
      say("this processor cannot multiply bfloat16: --precision bf16 will be far slower than float32 here");
    if (recipe_.precision == "bf16" && !autocasts && bf16_operands() != PlanarOperands::kPairs)
      say("this processor cannot multiply bfloat16: --precision bf16 rounds as on one that can, and saves no "
          "time here");
  }

  void say(const std::string& line) {
    if (!world_.leads()) return;
    files_.append_log(line);
    observer_.on_message(line);
  }

  double rate() const { return learning_rate(recipe_, progress_.step, batches_); }

  bool run_epoch() {  // false: interrupted, and saved
    freeze_body(recipe_, progress_.epoch < recipe_.freeze_body, network());
    feed_.start(progress_.epoch, progress_.batch);
    const auto began = Clock::now();
    const int64_t seen_before = progress_.seen;
    Fed fed;
    while (feed_.next(fed)) {
      progress_.batch = fed.batch.number;
      progress_.step = progress_.epoch * batches_ + fed.batch.number;
      const bool due = world_.leads() && seconds_since(last_save_) > kSaveEverySeconds;
      const StepResult result = step_.run(fed.images, fed.labels, progress_.step,
                                          progress_.step - frozen_steps_, rate(), {stop_, due});
      if (!std::isfinite(result.loss)) fail_numeric(result.loss);
      if (!world_.alone()) describe_traffic();
      progress_.loss_sum += result.loss * static_cast<double>(result.pictures);
      progress_.right += result.right;
      progress_.seen += result.pictures;
      ++progress_.batch;
      ++progress_.step;
      if (progress_.seen > 0) report_step(began, seen_before, fed.batch);
      if (result.wishes.stop) {
        save_state();
        say("interrupted in epoch " + std::to_string(progress_.epoch + 1) + ", saved; --resume continues");
        return false;
      }
      if (result.wishes.save) save_state();
    }
    end_epoch(began, seen_before);
    return true;
  }

  void describe_traffic() {  // of the second step, the first that is like all others
    const World::Traffic &near = world_.waited_for(), &far = world_.meanwhile();
    if (++steps_here_ == 2)
      say("a step adds up " + std::to_string((far.bytes - far_before_.bytes) / 1024) +
          " KiB of gradients (buckets: " + std::to_string(far.sums - far_before_.sums - 1) + "), and " +
          std::to_string((near.bytes - near_before_.bytes) / 1024) + " KiB of other sums in " +
          std::to_string(near.sums - near_before_.sums));
    near_before_ = near, far_before_ = far;
  }

  [[noreturn]] void fail_numeric(double value) {
    const bool saved = std::filesystem::exists(files_.last());
    throw Error(
        ErrorCode::kNumeric, files_.folder().string(),
        "the loss is " + std::string(std::isnan(value) ? "NaN" : "infinite") + " at epoch " +
            std::to_string(progress_.epoch + 1) + ", step " + std::to_string(progress_.batch + 1) +
            (saved ? "; last.safetensors keeps the weights of epoch " + std::to_string(progress_.epoch)
                   : std::string("; no epoch had ended")) +
            ". In a new run, lower --lr (now " + json(recipe_.learning_rate).dump() +
            ") or lengthen train.warmup_epochs");
  }

  void report_step(Clock::time_point began, int64_t seen_before, const Batch& batch) {
    StepReport report;
    report.pictures = batch.indices;
    report.epoch = progress_.epoch + 1;
    report.epochs = recipe_.epochs;
    report.step = progress_.batch;
    report.steps = batches_;
    const double elapsed = std::max(1e-9, seconds_since(began));
    report.images_per_s = static_cast<double>(progress_.seen - seen_before) / elapsed;
    report.loss = progress_.loss_sum / static_cast<double>(progress_.seen);
    report.top1 = static_cast<double>(progress_.right) / static_cast<double>(progress_.seen);
    report.shift_sparsity = sparsity_now();
    const double left = static_cast<double>(recipe_.epochs * batches_ - progress_.step);
    report.seconds_left = left * static_cast<double>(recipe_.batch) / std::max(1e-9, report.images_per_s);
    observer_.on_step(report);
  }

  double sparsity_now() {  // a walk over all layers: not at every step
    if (progress_.step % 16 == 1 || shown_sparsity_ < 0) shown_sparsity_ = sparsity();
    return shown_sparsity_;
  }
  double sparsity() const { return network()->shifts().empty() ? -1 : shift_sparsity(network()); }

  // Nothing that is not a number is ever saved.
  void check_finite() {
    for (const auto& item : network()->named_parameters()) {
      if (!item.value().isfinite().all().item<bool>()) fail_numeric(std::nan(""));
    }
  }

  void validate(EpochReport& report) {
    EvaluateOptions options;
    options.workers = std::min(4, world_.cores_here());
    temperature_.reset();
    try {
      Predictions some;
      const Evaluation val =
          evaluate_network(learning_.kept(), preprocess_, data_.val, options, world_, some);
      if (!std::isfinite(val.loss)) fail_numeric(val.loss);
      temperature_ = fit_temperature(some);
      report.val_loss = val.loss;
      report.val_top1 = val.top1;
      report.val_images = val.images;
      note_broken(val.broken);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kNumeric || world_.lost()) throw;
      network()->train();
      say(std::string("no picture of val could be used: ") + error.what());
    }
  }

  void end_epoch(Clock::time_point began, int64_t seen_before) {
    check_finite();
    if (progress_.epoch + 1 == recipe_.epochs) learning_.learner.finish();
    const double waited = feed_.waited();
    step_.settle(feed_, progress_.epoch);
    if (!world_.agree(digest(network())))
      throw Error(
          ErrorCode::kNumeric, files_.folder().string(),
          "the processes' weights are no longer the same: are all of one build, on one kind of processor?");
    EpochReport report;
    report.seconds = seconds_since(began);
    report.images_per_s = static_cast<double>(progress_.seen - seen_before) / report.seconds;
    report.epoch = progress_.epoch + 1;
    report.epochs = recipe_.epochs;
    if (progress_.seen > 0) {
      report.train_loss = progress_.loss_sum / static_cast<double>(progress_.seen);
      report.train_top1 = static_cast<double>(progress_.right) / static_cast<double>(progress_.seen);
    }
    report.learning_rate = rate();
    report.shift_sparsity = sparsity();
    if (data_.val) validate(report);
    note_broken(feed_.broken());
    report.broken_images = static_cast<int64_t>(progress_.broken.size());
    // Before the last pruning every epoch is the best so far: what comes before it has not the sparsity asked
    // for.
    report.best = !data_.val || !progress_.best_settled || report.val_top1 > progress_.best_top1;
    if (report.best) progress_.best_top1 = report.val_top1;
    if (report.best) progress_.best_sparsity = report.shift_sparsity;
    const bool waiting = report.best || progress_.epoch < recipe_.freeze_body;
    progress_.since_best = waiting ? 0 : progress_.since_best + 1;
    progress_.stopped = recipe_.patience > 0 && progress_.since_best >= recipe_.patience;
    report.stopped = progress_.stopped, report.waited = waited;
    progress_.best_settled = report.settled = learning_.learner.settled();
    ++progress_.epoch;
    progress_.batch = 0;
    progress_.loss_sum = 0;
    progress_.right = progress_.seen = 0;
    save_epoch(report);
    observer_.on_epoch(report);
    if (progress_.stopped && progress_.epoch < recipe_.epochs) {
      say("stopped early: no better epoch since epoch " + std::to_string(report.epoch - recipe_.patience));
    }
  }

  // Of this process; all hear of all.
  void note_broken(const std::map<std::string, std::string>& pictures) {
    for (const std::string& text : world_.gather(json_text(json(pictures)))) {
      const json reasons = json::parse(text);
      for (const auto& [name, reason] : reasons.items()) {
        if (progress_.broken.insert(name).second)
          say("skipped a broken picture: " + name + ": " + reason.get<std::string>());
      }
    }
  }

  void save_epoch(const EpochReport& report) {
    const json line = epoch_record(report, learning_.kept());
    progress_.metrics += line.dump() + "\n";
    if (world_.leads()) save_models(report, line.dump());
    save_state();
  }

  void save_models(const EpochReport& report, const std::string& line) {
    Network& kept = learning_.kept();
    ModelInfo info{recipe_.model, recipe_.shift, data_.class_names, preprocess_, {}};
    info.notes["epoch"] = std::to_string(report.epoch);
    info.notes["seed"] = std::to_string(recipe_.seed);
    info.notes["machine"] = machine_name();
    if (data_.val) {
      info.notes["val_top1"] = json(report.val_top1).dump();
      info.notes["val_images"] = std::to_string(report.val_images);
      if (temperature_) info.notes["temperature"] = json(*temperature_).dump();
    }
    save_model(files_.last(), kept, info);
    if (report.best) save_model(files_.best(), kept, info);
    write_file_atomic(files_.metrics(), progress_.metrics);
    files_.append_log(line);
  }

  void save_state() {
    check_finite();
    const SafeTensors state = state_of(learning_, progress_, recipe_.model, identity_);
    if (world_.leads()) write_safetensors(files_.state(), state);
    last_save_ = Clock::now();
  }

  Recipe recipe_;
  RunFiles files_;
  TrainObserver& observer_;
  const std::atomic<bool>& stop_;
  World& world_;
  torch::Device device_;
  int size_;
  Preprocess preprocess_;
  Data data_;
  const DataIdentity identity_;
  Feed feed_;
  int64_t batches_, frozen_steps_;
  std::string first_words_;
  Learning learning_;
  TrainingStep step_;
  RunProgress progress_;
  int64_t steps_here_ = 0;
  World::Traffic near_before_, far_before_;  // as they were after the step before
  std::optional<double> temperature_;        // of the last look at val
  double shown_sparsity_ = -1;
  Clock::time_point last_save_;
};

}  // namespace

TrainResult train(const Recipe& given, const std::filesystem::path& run, bool resume, TrainObserver& observer,
                  const std::atomic<bool>& stop, World& world, torch::Device device) {
  const RunFiles files(run);
  // Rank 0 knows the recipe and reads the state; the others may have no such folder.
  std::string text, state;
  if (world.leads()) {
    check_recipe(given);
    text = format_recipe(resolved(given));  // and written down, so that a resumed run has the same
    if (!resume && std::filesystem::exists(files.config())) files.create();  // refuses, before any work
    if (resume) files.lock();
    if (resume) state = read_state(files);
  }
  world.share(text);
  world.share(state);
  Recipe recipe;
  parse_recipe(text, "the recipe of rank 0", recipe);
  const int64_t threads =
      world.alone() ? recipe.threads : std::min<int64_t>(recipe.threads, world.cores_here());
  at::set_num_threads(static_cast<int>(threads));
  if (!world.alone() && recipe.sync_norm == "step")
    set_batch_norm_sums([&world](torch::Tensor& sums) { world.add_up(sums); });
  Trainer trainer(recipe, files, observer, stop, !state.empty(), world, device);
  if (!resume && world.leads()) {
    files.create();
    files.lock();
    write_file_atomic(files.config(), text);
  }
  if (!state.empty()) {
    trainer.resume(state);
  } else if (resume && world.leads()) {
    observer.on_message("the run had not saved anything yet: it starts from the beginning");
  }
  const TrainResult result = trainer.run();
  set_batch_norm_sums({});
  return result;
}

}  // namespace fewshift
