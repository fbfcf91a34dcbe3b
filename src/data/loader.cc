// Worker threads each make a whole batch; next() hands the batches out in order.
// SPDX-License-Identifier: Apache-2.0
#include "data/loader.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>

#include "core/error.h"
#include "core/random.h"

namespace fewshift {
namespace {

using Order = std::vector<size_t>;

struct Made {
  Batch batch;
  std::vector<std::pair<std::string, std::string>> broken;  // name, reason
  std::exception_ptr failure;
};

struct Job {
  uint64_t run, epoch;
  size_t number;
  std::shared_ptr<const Order> order;
};

void check_options(const LoaderOptions& options) {
  if (options.batch < 1) throw Error(ErrorCode::kInvalidArgument, "batch", "must be at least 1");
  if (options.parts < 1 || options.part < 0 || options.part >= options.parts)
    throw Error(ErrorCode::kInvalidArgument, "part", "must be from 0 to parts - 1");
  if (options.window < 1) throw Error(ErrorCode::kInvalidArgument, "window", "must be at least 1");
  if (options.workers < 1) throw Error(ErrorCode::kInvalidArgument, "workers", "must be at least 1");
  const Preprocess& preprocess = options.preprocess;
  if (preprocess.size < 1 || preprocess.size > preprocess.resize || preprocess.resize > 4096) {
    throw Error(ErrorCode::kInvalidArgument, "size", "must be from 1 to resize, and that at most 4096");
  }
  // Bad augmentations fail here, on a picture of one pixel, and do not make every picture look broken.
  std::vector<float> out(size_t(preprocess.size) * preprocess.size * 3);
  augment(Image{1, 1, {0, 0, 0}}, options.augment, preprocess, Random{0}, out.data());
}

}  // namespace

struct Loader::State {
  State(std::shared_ptr<const Dataset> data, const LoaderOptions& chosen)
      : dataset(std::move(data)), options(chosen), prefetch(static_cast<size_t>(options.workers) + 2) {
    try {
      for (int i = 0; i < options.workers; ++i) threads.emplace_back([this] { work(); });
    } catch (...) {
      stop();
      throw;
    }
  }
  ~State() { stop(); }

  void stop() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
      ++run;
    }
    work_ready.notify_all();
    for (std::thread& thread : threads) thread.join();
    threads.clear();
  }

  size_t batches() const { return (dataset->size() + options.batch - 1) / options.batch; }

  // Places in the order, [first, second), of this process's part of a batch.
  std::pair<size_t, size_t> range(size_t batch) const {
    const size_t all = dataset->size(), number = batches(), part = options.part, parts = options.parts;
    const size_t first = options.even ? batch * all / number : batch * options.batch;
    const size_t end = options.even ? (batch + 1) * all / number : std::min(all, first + options.batch);
    return {first + (end - first) * part / parts, first + (end - first) * (part + 1) / parts};
  }

  std::shared_ptr<const Order> make_order(uint64_t epoch) const {
    auto order = std::make_shared<Order>(dataset->size());
    Random random{options.seed, epoch};
    auto runs = dataset->runs();
    if (!options.shuffle || runs.empty()) {
      std::iota(order->begin(), order->end(), size_t{0});
      if (options.shuffle) shuffle(*order, random);
      return order;
    }
    shuffle(runs, random);
    auto to = order->begin();
    for (const auto& [first, end] : runs) {
      std::iota(to, to + static_cast<std::ptrdiff_t>(end - first), first);
      to += static_cast<std::ptrdiff_t>(end - first);
    }
    for (size_t k = 0; k < order->size(); ++k)
      std::swap((*order)[k], (*order)[k + random.below(std::min(options.window, order->size() - k))]);
    return order;
  }

  void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      work_ready.wait(lock, [&] { return stopping || (to_make < end && to_make < to_give + prefetch); });
      if (stopping) return;
      const Job job{run, epoch, to_make++, order};
      Made made;
      if (!spare.empty()) {
        made.batch = std::move(spare.back());
        spare.pop_back();
      }
      lock.unlock();
      make(job, made);
      lock.lock();
      if (job.run != run) continue;
      ready[job.number] = std::move(made);
      batch_ready.notify_all();
    }
  }

  void make(const Job& job, Made& made) const {
    try {
      fill(job, made);
    } catch (...) {
      made.failure = std::current_exception();
    }
  }

  void make_image(uint64_t epoch, size_t index, float* out) const {
    const Random random{options.seed, epoch, index};
    const auto image = dataset->image(index, wanted_by(options.augment, options.preprocess, random));
    augment(*image, options.augment, options.preprocess, random, out);
  }

  // Leaves off early once start() or the destructor has made the job void.
  void fill(const Job& job, Made& made) const {
    const auto [first, end] = range(job.number);
    const size_t count = end - first;
    const size_t floats = size_t(options.preprocess.size) * options.preprocess.size * 3;
    Batch& batch = made.batch;
    batch.size = 0;
    batch.labels.clear();
    batch.indices.clear();
    batch.images.resize(options.images ? count * floats : 0);
    for (size_t i = first; i < end && run == job.run; ++i) {
      const size_t index = (*job.order)[i];
      try {
        if (options.images) make_image(job.epoch, index, batch.images.data() + batch.size * floats);
      } catch (const Error& error) {
        made.broken.emplace_back(dataset->name(index), error.message());
        continue;
      }
      batch.labels.push_back(dataset->label(index));
      batch.indices.push_back(index);
      ++batch.size;
    }
    if (options.images) batch.images.resize(batch.size * floats);
  }

  const std::shared_ptr<const Dataset> dataset;
  const LoaderOptions options;
  const size_t prefetch;  // batches made or in the making, ahead of the one to give

  mutable std::mutex mutex;  // guards all below
  std::condition_variable work_ready, batch_ready;
  bool stopping = false;
  std::atomic<uint64_t> run{0};  // counts start(); also read without the lock
  uint64_t epoch = 0;
  std::shared_ptr<const Order> order;
  size_t first = 0, to_make = 0, to_give = 0, end = 0;  // numbers of batches
  int64_t given = 0;                                    // pictures, since start()
  std::pair<std::string, std::string> first_broken;     // since start(): name, reason
  std::map<size_t, Made> ready;
  std::vector<Batch> spare;  // memory to use again
  std::map<std::string, std::string> broken;
  std::vector<std::thread> threads;
};

Loader::Loader(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options) {
  if (!dataset) throw Error(ErrorCode::kInvalidArgument, "dataset", "there is none to load from");
  check_options(options);
  state_ = std::make_unique<State>(std::move(dataset), options);
}

Loader::~Loader() = default;

size_t Loader::batches() const {
  return state_->batches();
}

void Loader::start(uint64_t epoch, size_t first) {
  auto order = state_->make_order(epoch);
  {
    const std::lock_guard lock(state_->mutex);
    ++state_->run;
    state_->epoch = epoch;
    state_->order = std::move(order);
    state_->end = state_->batches();
    state_->first = state_->to_make = state_->to_give = std::min(first, state_->end);
    state_->given = 0;
    state_->first_broken = {};
    state_->ready.clear();
  }
  state_->work_ready.notify_all();
}

bool Loader::next(Batch& batch) {
  State& state = *state_;
  std::unique_lock lock(state.mutex);
  while (state.to_give < state.end) {
    state.batch_ready.wait(lock, [&] { return state.ready.count(state.to_give) > 0; });
    const size_t number = state.to_give++;
    Made made = std::move(state.ready.extract(number).mapped());
    made.batch.number = static_cast<int64_t>(number);
    state.work_ready.notify_all();
    if (made.failure) {
      state.to_give = state.to_make = state.end;
      std::rethrow_exception(made.failure);
    }
    for (auto& [name, reason] : made.broken) {
      if (state.first_broken.first.empty()) state.first_broken = {name, reason};
      state.broken.emplace(std::move(name), std::move(reason));
    }
    const bool some = made.batch.size > 0 || state.options.parts > 1;
    state.given += made.batch.size;
    if (some) std::swap(batch, made.batch);
    if (state.spare.size() < state.prefetch) state.spare.push_back(std::move(made.batch));
    if (some) return true;
  }
  if (state.given == 0 && state.first == 0 && !state.first_broken.first.empty()) {
    throw Error(ErrorCode::kCorrupt, state.first_broken.first,
                state.first_broken.second + " (and every other picture is broken too)");
  }
  return false;
}

std::map<std::string, std::string> Loader::broken() const {
  const std::lock_guard lock(state_->mutex);
  return state_->broken;
}

}  // namespace fewshift
