// SPDX-License-Identifier: Apache-2.0
#include "train/trainer.h"

#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "arch/count.h"
#include "core/cores.h"
#include "core/error.h"
#include "core/file.h"
#include "core/machine.h"
#include "nn/autocast.h"
#include "nn/conv_norm.h"
#include "nn/displacements.h"
#include "train/average.h"
#include "train/checkpoint.h"
#include "train/epoch_record.h"
#include "train/evaluate.h"
#include "train/mix.h"
#include "train/network_start.h"
#include "train/run_files.h"
#include "train/run_progress.h"
#include "train/schedule.h"
#include "train/shift_learner.h"
#include "train/training_data.h"
#include "train/weight_optimiser.h"

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
          bool resumed)
      : recipe_(recipe),
        files_(files),
        observer_(observer),
        stop_(stop),
        size_(recipe.size > 0 ? static_cast<int>(recipe.size) : arch_of(recipe).size),
        preprocess_(default_preprocess(size_)),
        data_(open_training_data(recipe, preprocess_)),
        network_(arch_of(recipe, static_cast<int>(data_.class_names.size())),
                 static_cast<uint64_t>(recipe.seed)),
        loader_(data_.train, loader_options(recipe, preprocess_)),
        batches_(static_cast<int64_t>(loader_.batches())),
        frozen_steps_(recipe.freeze_body * batches_),
        learner_(network_, recipe, recipe.epochs * batches_ - frozen_steps_),
        optimiser_(network_, recipe),
        class_weights_(class_weights(recipe, data_)) {
    count(network_->arch(), size_);  // refuses a size that the network cannot see
    first_words_ = start_network(recipe, data_.class_names, resumed, network_);
    if (recipe_.ema > 0) {
      average_ = Network(network_->arch(), static_cast<uint64_t>(recipe.seed));
      update_average(network_, 0, 0, average_);  // the same, to begin with
      average_->eval();
    }
  }

  void resume() {
    const std::string where = files_.state().string();
    const SafeTensors state = read_safetensors(files_.state());
    try {
      progress_ = run_progress_from_json(state.metadata.at("progress"));
      if (state.metadata.at("model") != recipe_.model) {
        throw Error(ErrorCode::kCorrupt, where,
                    "is of the model " + state.metadata.at("model") + ", not " + recipe_.model);
      }
      if (state.metadata.at("data") != data_fingerprint(data_)) {
        throw Error(ErrorCode::kInvalidArgument, "--data " + recipe_.data,
                    "its pictures or classes are not those that the run began with");
      }
      take_network(state, "network.", where, network_);
      if (average_) take_network(state, "average.", where, average_);
      optimiser_.take(state, "optimiser.");
      std::map<std::string, torch::Tensor> shifts;
      for (const auto& [name, raw] : state.tensors) {
        if (name.starts_with("learner.")) shifts[name.substr(8)] = from_raw(raw);
      }
      learner_.load_state(shifts);
    } catch (const Error&) {
      throw;
    } catch (const std::exception&) {
      throw Error(ErrorCode::kCorrupt, where, "is not the state of this run");
    }
    write_file_atomic(files_.metrics(), progress_.metrics);
    say("resumed at epoch " + std::to_string(progress_.epoch + 1) + ", step " +
        std::to_string(progress_.batch));
  }

  TrainResult run() {
    describe();
    if (finished()) say("this run has finished already");
    // From here on a run that is killed can be resumed, however early.
    if (!std::filesystem::exists(files_.state())) save_state();
    last_save_ = Clock::now();
    bool interrupted = false;
    while (!finished() && !interrupted) interrupted = !run_epoch();
    return {interrupted, progress_.epoch, progress_.best_top1, progress_.best_sparsity};
  }

 private:
  bool finished() const { return progress_.stopped || progress_.epoch >= recipe_.epochs; }
  // The network that is validated and kept.
  Network& kept() { return average_ ? average_ : network_; }

  void describe() {
    say(describe_data(recipe_.data, data_));
    if (!first_words_.empty()) say(first_words_);
    const bool fuses = set_fused(recipe_.fused == "on");
    set_hidden(recipe_.hidden);
    if (recipe_.fused == "on" && !fuses)
      say("this processor has neither AVX2 nor AVX-512: bottlenecks are not fused, every layer goes by "
          "itself");
    set_bf16_products(recipe_.precision == "bf16");
    autocasts_ = recipe_.precision == "bf16" && !network_->fuses();
    if (autocasts_ && !multiplies_bfloat16())
      say("this processor cannot multiply bfloat16: --precision bf16 will be far slower than float32 here");
    if (recipe_.precision == "bf16" && !autocasts_ && bf16_operands() != PlanarOperands::kPairs)
      say("this processor cannot multiply bfloat16: --precision bf16 rounds as on one that can, and saves no "
          "time here");
  }

  void say(const std::string& line) {
    files_.append_log(line);
    observer_.on_message(line);
  }

  double rate() const { return learning_rate(recipe_, progress_.step, batches_); }

  bool run_epoch() {  // false: interrupted, and saved
    freeze_body(recipe_, progress_.epoch < recipe_.freeze_body, network_);
    loader_.start(static_cast<uint64_t>(progress_.epoch), static_cast<size_t>(progress_.batch));
    const auto began = Clock::now();
    const int64_t seen_before = progress_.seen;
    Batch batch;
    waited_ = 0;
    while (next(batch)) {
      progress_.batch = batch.number;
      progress_.step = progress_.epoch * batches_ + batch.number;
      if (batch.size > 1)
        train_step(batch);  // batch norm needs two; a lone one is left where the others were broken
      ++progress_.batch;
      ++progress_.step;
      if (progress_.seen > 0) report_step(began, seen_before);
      if (stop_) {
        save_state();
        say("interrupted in epoch " + std::to_string(progress_.epoch + 1) + ", saved; --resume continues");
        return false;
      }
      if (seconds_since(last_save_) > kSaveEverySeconds) save_state();
    }
    end_epoch(began, seen_before);
    return true;
  }

  bool next(Batch& batch) {
    const auto began = Clock::now();
    const bool more = loader_.next(batch);
    waited_ += seconds_since(began);
    return more;
  }

  void train_step(Batch& batch) {
    // Dropout's numbers depend on the step alone.
    torch::manual_seed(
        Random{static_cast<uint64_t>(recipe_.seed), 0xD20, static_cast<uint64_t>(progress_.step)}.next());
    const double rate = this->rate();
    const int64_t shift_step = progress_.step - frozen_steps_;
    if (shift_step >= 0) learner_.before_step(shift_step);
    const Mixed mixed = mix(images_tensor(batch, size_), labels_tensor(batch), recipe_.mixup, recipe_.cutmix);
    const torch::Tensor logits = forward(mixed.images);
    const torch::Tensor loss = mixed_loss(logits, mixed, class_weights_, recipe_.label_smoothing);
    const double value = loss.item<double>();
    if (!std::isfinite(value)) fail_numeric(value);
    optimiser_.zero_grad();
    loss.backward();
    if (shift_step >= 0) learner_.after_step(shift_step, rate);
    optimiser_.step(rate);
    if (average_) update_average(network_, recipe_.ema, progress_.step, average_);
    progress_.loss_sum += value * static_cast<double>(batch.size);
    progress_.right += (logits.argmax(1) == mixed.main_labels()).sum().item<int64_t>();
    progress_.seen += batch.size;
  }

  torch::Tensor forward(const torch::Tensor& images) {
    const Autocast autocast(autocasts_);
    return network_->forward(images).to(torch::kFloat);
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

  void report_step(Clock::time_point began, int64_t seen_before) {
    StepReport report;
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
  double sparsity() const { return network_->shifts().empty() ? -1 : shift_sparsity(network_); }

  // Nothing that is not a number is ever saved.
  void check_finite() {
    for (const auto& item : network_->named_parameters()) {
      if (!item.value().isfinite().all().item<bool>()) fail_numeric(std::nan(""));
    }
  }

  void validate(EpochReport& report) {
    EvaluateOptions options;
    options.workers = std::min(4, cores());
    temperature_.reset();
    try {
      Predictions some;
      const Evaluation val = evaluate_network(kept(), preprocess_, data_.val, options, some);
      if (!std::isfinite(val.loss)) fail_numeric(val.loss);
      temperature_ = fit_temperature(some);
      report.val_loss = val.loss;
      report.val_top1 = val.top1;
      report.val_images = val.images;
      for (const auto& [name, reason] : val.broken) note_broken(name, reason);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kNumeric) throw;
      network_->train();
      say(std::string("no picture of val could be used: ") + error.what());
    }
  }

  void end_epoch(Clock::time_point began, int64_t seen_before) {
    check_finite();
    if (progress_.epoch + 1 == recipe_.epochs) learner_.finish();
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
    for (const auto& [name, reason] : loader_.broken()) note_broken(name, reason);
    report.broken_images = static_cast<int64_t>(progress_.broken.size());
    // Before the last pruning every epoch is the best so far: what comes before it has not the sparsity asked
    // for.
    report.best = !data_.val || !progress_.best_settled || report.val_top1 > progress_.best_top1;
    if (report.best) progress_.best_top1 = report.val_top1;
    if (report.best) progress_.best_sparsity = report.shift_sparsity;
    const bool waiting = report.best || progress_.epoch < recipe_.freeze_body;
    progress_.since_best = waiting ? 0 : progress_.since_best + 1;
    progress_.stopped = recipe_.patience > 0 && progress_.since_best >= recipe_.patience;
    report.stopped = progress_.stopped, report.waited = waited_;
    progress_.best_settled = learner_.settled();
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

  void note_broken(const std::string& name, const std::string& reason) {
    if (progress_.broken.insert(name).second) say("skipped a broken picture: " + name + ": " + reason);
  }

  void save_epoch(const EpochReport& report) {
    const json line = epoch_record(report, kept());
    progress_.metrics += line.dump() + "\n";
    ModelInfo info{recipe_.model, recipe_.shift, data_.class_names, preprocess_, {}};
    info.notes["epoch"] = std::to_string(report.epoch);
    info.notes["seed"] = std::to_string(recipe_.seed);
    info.notes["machine"] = machine_name();
    if (data_.val) {
      info.notes["val_top1"] = json(report.val_top1).dump();
      info.notes["val_images"] = std::to_string(report.val_images);
      if (temperature_) info.notes["temperature"] = json(*temperature_).dump();
    }
    save_model(files_.last(), kept(), info);
    if (report.best) save_model(files_.best(), kept(), info);
    write_file_atomic(files_.metrics(), progress_.metrics);
    files_.append_log(line.dump());
    save_state();
  }

  void save_state() {
    check_finite();
    SafeTensors state;
    put_network(network_, "network.", state);
    if (average_) put_network(average_, "average.", state);
    optimiser_.put("optimiser.", state);
    for (const auto& [name, tensor] : learner_.state()) state.tensors["learner." + name] = to_raw(tensor);
    state.metadata["model"] = recipe_.model;
    state.metadata["data"] = data_fingerprint(data_);
    state.metadata["progress"] = to_json(progress_);
    write_safetensors(files_.state(), state);
    last_save_ = Clock::now();
  }

  Recipe recipe_;
  RunFiles files_;
  TrainObserver& observer_;
  const std::atomic<bool>& stop_;
  int size_;
  Preprocess preprocess_;
  Data data_;
  Network network_;
  Loader loader_;
  int64_t batches_, frozen_steps_;
  ShiftLearner learner_;
  WeightOptimiser optimiser_;
  torch::Tensor class_weights_;
  Network average_{nullptr};  // with train.ema
  std::string first_words_;
  RunProgress progress_;
  bool autocasts_ = false;
  std::optional<double> temperature_;  // of the last look at val
  double shown_sparsity_ = -1;
  double waited_ = 0;  // for pictures, in this epoch, s
  Clock::time_point last_save_;
};

}  // namespace

Recipe read_run_recipe(const std::filesystem::path& run, const std::string& where) {
  const RunFiles files(run);
  if (!std::filesystem::exists(files.config())) {
    throw Error(ErrorCode::kNotFound, where, "there is no run: it has no config.toml");
  }
  Recipe recipe;
  read_recipe(files.config(), recipe);
  return recipe;
}

TrainResult train(const Recipe& given, const std::filesystem::path& run, bool resume, TrainObserver& observer,
                  const std::atomic<bool>& stop) {
  check_recipe(given);
  const Recipe recipe = resolved(given);  // and written down, so that a resumed run has the same
  at::set_num_threads(static_cast<int>(recipe.threads));
  const RunFiles files(run);
  if (!resume && std::filesystem::exists(files.config())) files.create();  // refuses, before any work
  const bool has_state = std::filesystem::exists(files.state());
  if (resume && !has_state && std::filesystem::exists(files.last())) {
    throw Error(ErrorCode::kNotFound, files.state().string(),
                "is missing: the run cannot be continued without it");
  }
  if (resume) files.lock();
  Trainer trainer(recipe, files, observer, stop, resume && has_state);
  if (!resume) {
    files.create();
    files.lock();
    write_file_atomic(files.config(), format_recipe(recipe));
  } else if (has_state) {
    trainer.resume();
  } else {
    observer.on_message("the run had not saved anything yet: it starts from the beginning");
  }
  return trainer.run();
}

}  // namespace fewshift
