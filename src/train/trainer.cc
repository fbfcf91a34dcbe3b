// SPDX-License-Identifier: Apache-2.0
#include "train/trainer.h"

#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <set>
#include <thread>

#include "arch/registry.h"
#include "core/error.h"
#include "core/file.h"
#include "data/loader.h"
#include "data/open.h"
#include "nn/displacements.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"
#include "train/run_files.h"
#include "train/run_progress.h"
#include "train/shift_learner.h"

namespace fewshift {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr double kSaveEverySeconds = 120;

double seconds_since(Clock::time_point then) {
  return std::chrono::duration<double>(Clock::now() - then).count();
}

int cores() {
  return std::max(1u, std::thread::hardware_concurrency());
}

Augment augment_of(const Recipe& recipe, int size) {
  Augment augment;
  augment.crop = recipe.crop != "auto" ? recipe.crop : size <= 64 ? "pad" : "random_resized";
  augment.pad = recipe.pad > 0 ? static_cast<int>(recipe.pad) : std::max(1, size / 8);
  augment.scale_min = recipe.scale_min;
  augment.flip = recipe.flip;
  augment.colour_jitter = recipe.colour_jitter;
  return augment;
}

LoaderOptions loading_of(const Recipe& recipe, const Preprocess& preprocess) {
  LoaderOptions options;
  options.batch = static_cast<int>(recipe.batch);
  options.workers = recipe.workers > 0 ? static_cast<int>(recipe.workers) : std::min(4, cores());
  options.seed = static_cast<uint64_t>(recipe.seed);
  options.shuffle = true;
  options.drop_last = true;
  options.augment = augment_of(recipe, preprocess.size);
  options.preprocess = preprocess;
  return options;
}

Data open(const Recipe& recipe, const Preprocess& preprocess) {
  DataOptions options;
  options.seed = static_cast<uint64_t>(recipe.seed);
  options.val_share = recipe.val_share;
  options.min_side = decode_min_side(preprocess);
  options.cache_bytes = static_cast<size_t>(recipe.cache_mb) << 20;
  Data data = open_data(recipe.data, options);
  if (!data.train) throw Error(ErrorCode::kNotFound, recipe.data, "has no train/ to train on");
  if (data.train->size() < 2)
    throw Error(ErrorCode::kInvalidArgument, recipe.data, "has fewer than two pictures to train on");
  return data;
}

class Trainer {
 public:
  Trainer(const Recipe& recipe, const RunFiles& files, TrainObserver& observer, const std::atomic<bool>& stop,
          bool resumed)
      : recipe_(recipe),
        files_(files),
        observer_(observer),
        stop_(stop),
        size_(recipe.size > 0 ? static_cast<int>(recipe.size) : make_arch(recipe.model).size),
        preprocess_(default_preprocess(size_)),
        data_(open(recipe, preprocess_)),
        network_(make_arch(recipe.model, static_cast<int>(data_.class_names.size())),
                 static_cast<uint64_t>(recipe.seed)),
        loader_(data_.train, loading_of(recipe, preprocess_)),
        batches_(static_cast<int64_t>(loader_.batches())),
        learner_(network_, recipe, recipe.epochs * batches_),
        optimiser_(parameter_groups(), torch::optim::SGDOptions(recipe.learning_rate)) {
    start_shifts(resumed);
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
      if (state.metadata.at("data") != data_fingerprint()) {
        throw Error(ErrorCode::kInvalidArgument, "--data " + recipe_.data,
                    "its pictures or classes are not those that the run began with");
      }
      take_network(state, "network.", where, network_);
      take_optimiser(state);
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
    if (progress_.epoch >= recipe_.epochs) say("this run has finished already");
    last_save_ = Clock::now();
    bool interrupted = false;
    while (progress_.epoch < recipe_.epochs && !interrupted) interrupted = !run_epoch();
    return {interrupted, progress_.epoch, progress_.best_top1, shift_sparsity(network_)};
  }

 private:
  // Weights decay; batch norm and biases do not; displacements are the learner's.
  std::vector<torch::optim::OptimizerParamGroup> parameter_groups() {
    std::vector<torch::Tensor> decayed, plain;
    for (const auto& item : network_->named_parameters()) {
      if (item.key().ends_with(".displacement")) continue;
      (item.value().dim() > 1 ? decayed : plain).push_back(item.value());
    }
    const auto options =
        torch::optim::SGDOptions(recipe_.learning_rate).momentum(recipe_.momentum).nesterov(true);
    auto with_decay = torch::optim::SGDOptions(options).weight_decay(recipe_.weight_decay);
    std::vector<torch::optim::OptimizerParamGroup> groups;
    groups.emplace_back(decayed, std::make_unique<torch::optim::SGDOptions>(with_decay));
    groups.emplace_back(plain, std::make_unique<torch::optim::SGDOptions>(options));
    return groups;
  }

  void start_shifts(bool resumed) {
    if (recipe_.shift == "ssl") {
      start_displacements(network_, recipe_.start, recipe_.reach, static_cast<uint64_t>(recipe_.seed));
      return;
    }
    std::vector<double> shares(network_->shifts().size(), std::max(0.0, recipe_.sparsity));
    if (!recipe_.shift_from.empty() && !resumed) {  // a resumed run has them in its state
      const TrainedModel model = load_model(recipe_.shift_from);
      shares = layer_sparsity(model.network);
      if (shares.size() != network_->shifts().size()) {
        throw Error(ErrorCode::kInvalidArgument, "--shift-from " + recipe_.shift_from,
                    "has " + std::to_string(shares.size()) + " shift layers, " + recipe_.model + " has " +
                        std::to_string(network_->shifts().size()));
      }
    }
    fix_random_shifts(network_, shares, static_cast<uint64_t>(recipe_.seed));
  }

  void describe() {
    std::string line = recipe_.data + ": " + data_.format + ", " + std::to_string(data_.class_names.size()) +
                       " classes, train " + std::to_string(data_.train->size());
    if (data_.val) line += ", val " + std::to_string(data_.val->size());
    if (data_.val_from_train) line += " (a tenth or so of train/, by seed)";
    if (data_.test) line += ", test " + std::to_string(data_.test->size());
    say(line);
  }

  void say(const std::string& line) {
    files_.append_log(line);
    observer_.on_message(line);
  }

  double learning_rate() const {
    const double steps = static_cast<double>(recipe_.epochs * batches_),
                 step = static_cast<double>(progress_.step);
    const double warmup = std::min(recipe_.warmup_epochs * static_cast<double>(batches_), steps);
    const double low = recipe_.final_learning_rate, high = recipe_.learning_rate;
    if (step < warmup) return high * (step + 1) / (warmup + 1);
    return low + (high - low) * 0.5 *
                     (1 + std::cos(std::numbers::pi * (step - warmup) / std::max(1.0, steps - warmup)));
  }

  bool run_epoch() {  // false: interrupted, and saved
    network_->train();
    loader_.start(static_cast<uint64_t>(progress_.epoch), static_cast<size_t>(progress_.batch));
    const auto began = Clock::now();
    const int64_t seen_before = progress_.seen;
    Batch batch;
    while (loader_.next(batch)) {
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

  void train_step(Batch& batch) {
    // Dropout's numbers depend on the step alone.
    torch::manual_seed(
        Random{static_cast<uint64_t>(recipe_.seed), 0xD20, static_cast<uint64_t>(progress_.step)}.next());
    const double rate = learning_rate();
    for (auto& group : optimiser_.param_groups()) group.options().set_lr(rate);
    learner_.before_step(progress_.step);
    const torch::Tensor labels = labels_tensor(batch);
    const torch::Tensor logits = network_->forward(images_tensor(batch, size_));
    const torch::Tensor loss =
        torch::cross_entropy_loss(logits, labels, {}, at::Reduction::Mean, -100, recipe_.label_smoothing);
    const double value = loss.item<double>();
    if (!std::isfinite(value)) fail_numeric(value);
    optimiser_.zero_grad();
    loss.backward();
    learner_.after_step(progress_.step, rate);
    optimiser_.step();
    progress_.loss_sum += value * static_cast<double>(batch.size);
    progress_.right += (logits.argmax(1) == labels).sum().item<int64_t>();
    progress_.seen += batch.size;
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
    if (progress_.step % 16 == 1 || shown_sparsity_ < 0) shown_sparsity_ = shift_sparsity(network_);
    return shown_sparsity_;
  }

  // Nothing that is not a number is ever saved.
  void check_finite() {
    for (const auto& item : network_->named_parameters()) {
      if (!item.value().isfinite().all().item<bool>()) fail_numeric(std::nan(""));
    }
  }

  void validate(EpochReport& report) {
    EvaluateOptions options;
    options.preprocess = preprocess_;
    options.workers = std::min(4, cores());
    try {
      const Evaluation val = evaluate(network_, data_.val, options);
      if (!std::isfinite(val.loss)) fail_numeric(val.loss);
      report.val_loss = val.loss;
      report.val_top1 = val.top1;
      report.val_images = val.images;
      for (const auto& [name, reason] : val.broken) broken_[name] = reason;
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
    report.learning_rate = learning_rate();
    report.shift_sparsity = shift_sparsity(network_);
    if (data_.val) validate(report);
    for (const auto& [name, reason] : loader_.broken()) broken_[name] = reason;
    report.broken_images = static_cast<int64_t>(broken_.size());
    name_broken();
    // Before the last pruning every epoch is the best so far: what comes before it has not the sparsity asked
    // for.
    report.best = !data_.val || !progress_.best_settled || report.val_top1 > progress_.best_top1;
    if (report.best) progress_.best_top1 = report.val_top1;
    progress_.best_settled = learner_.settled();
    ++progress_.epoch;
    progress_.batch = 0;
    progress_.loss_sum = 0;
    progress_.right = progress_.seen = 0;
    save_epoch(report);
    observer_.on_epoch(report);
  }

  void name_broken() {
    for (const auto& [name, reason] : broken_) {
      if (named_.insert(name).second) say("skipped a broken picture: " + name + ": " + reason);
    }
  }

  void save_epoch(const EpochReport& report) {
    json line = {{"epoch", report.epoch},
                 {"train_loss", report.train_loss},
                 {"train_top1", report.train_top1},
                 {"shift_sparsity", report.shift_sparsity},
                 {"learning_rate", report.learning_rate},
                 {"images_per_s", report.images_per_s},
                 {"seconds", report.seconds},
                 {"broken_images", report.broken_images}};
    if (data_.val) {
      line["val_loss"] = report.val_loss;
      line["val_top1"] = report.val_top1;
      line["val_images"] = report.val_images;
    }
    progress_.metrics += line.dump() + "\n";
    ModelInfo info{recipe_.model, data_.class_names, preprocess_, {}};
    info.notes["epoch"] = std::to_string(report.epoch);
    info.notes["seed"] = std::to_string(recipe_.seed);
    info.notes["shift"] = recipe_.shift;
    if (data_.val) info.notes["val_top1"] = json(report.val_top1).dump();
    save_model(files_.last(), network_, info);
    if (report.best) save_model(files_.best(), network_, info);
    write_file_atomic(files_.metrics(), progress_.metrics);
    files_.append_log(line.dump());
    save_state();
  }

  // Classes and labels in their order: what must not change under a run.
  std::string data_fingerprint() const {
    uint64_t hash = 1469598103934665603u;  // FNV-1a
    auto add = [&](uint64_t value) { hash = (hash ^ value) * 1099511628211u; };
    for (const auto& set : {data_.train, data_.val}) {
      add(set ? set->size() : 0);
      for (size_t k = 0; set && k < set->size(); ++k) add(static_cast<uint64_t>(set->label(k)));
    }
    return json(data_.class_names).dump(-1, ' ', false, json::error_handler_t::replace) +
           std::to_string(hash);
  }

  void save_state() {
    check_finite();
    SafeTensors state;
    put_network(network_, "network.", state);
    for (const auto& item : network_->named_parameters()) {
      const auto found = optimiser_.state().find(item.value().unsafeGetTensorImpl());
      if (found == optimiser_.state().end()) continue;
      const auto& sgd = static_cast<torch::optim::SGDParamState&>(*found->second);
      state.tensors["momentum." + item.key()] = to_raw(sgd.momentum_buffer());
    }
    for (const auto& [name, tensor] : learner_.state()) state.tensors["learner." + name] = to_raw(tensor);
    state.metadata["model"] = recipe_.model;
    state.metadata["data"] = data_fingerprint();
    state.metadata["progress"] = to_json(progress_);
    write_safetensors(files_.state(), state);
    last_save_ = Clock::now();
  }

  void take_optimiser(const SafeTensors& state) {
    for (const auto& item : network_->named_parameters()) {
      const auto found = state.tensors.find("momentum." + item.key());
      if (found == state.tensors.end()) continue;
      auto sgd = std::make_unique<torch::optim::SGDParamState>();
      // In the parameter's own memory layout, as an uninterrupted run would have it.
      sgd->momentum_buffer(torch::empty_like(item.value()).copy_(from_raw(found->second)));
      optimiser_.state()[item.value().unsafeGetTensorImpl()] = std::move(sgd);
    }
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
  int64_t batches_;
  ShiftLearner learner_;
  torch::optim::SGD optimiser_;
  RunProgress progress_;
  std::map<std::string, std::string> broken_;
  std::set<std::string> named_;
  double shown_sparsity_ = -1;
  Clock::time_point last_save_;
};

}  // namespace

Recipe read_run_recipe(const std::filesystem::path& run) {
  const RunFiles files(run);
  if (!std::filesystem::exists(files.config())) {
    throw Error(ErrorCode::kNotFound, "--resume " + run.string(),
                "there is no run to resume: it has no config.toml");
  }
  Recipe recipe;
  read_recipe(files.config(), recipe);
  return recipe;
}

TrainResult train(const Recipe& given, const std::filesystem::path& run, bool resume, TrainObserver& observer,
                  const std::atomic<bool>& stop) {
  check_recipe(given);
  Recipe recipe = given;
  if (recipe.threads == 0) recipe.threads = cores();  // written down, so that a resumed run has as many
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
