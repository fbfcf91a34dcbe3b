// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <chrono>
#include <limits>
#include <optional>

#include "core/error.h"
#include "core/file.h"
#include "engine/execute.h"
#include "engine/program.h"
#include "engine/team.h"
#include "graph/onnx/onnx.h"

namespace fewshift::engine {

struct Model::State {
  std::string name;
  std::map<std::string, std::string> metadata;
  Program program;
  const Kernels* kernels = nullptr;
};

Model::Model(std::unique_ptr<State> state) : state_(std::move(state)) {}
Model::~Model() = default;

std::shared_ptr<const Model> Model::load(const std::filesystem::path& file, const graph::Limits& limits) {
  return parse(read_bytes(file, limits.file_bytes), file.string(), limits);
}

std::shared_ptr<const Model> Model::parse(AlignedBytes bytes, const std::string& where,
                                          const graph::Limits& limits) {
  graph::Graph graph = graph::parse_onnx(std::move(bytes), where, limits);
  try {
    return from(std::move(graph), limits);
  } catch (const Error& error) {
    throw Error(error.code(), where, error.what());
  }
}

std::shared_ptr<const Model> Model::from(graph::Graph graph, const graph::Limits& limits) {
  auto state = std::make_unique<State>();
  state->kernels = &fewshift::kernels();
  state->name = graph.name;
  state->metadata = graph.metadata;
  state->program = build_program(std::move(graph), state->kernels->lanes, limits);
  return std::shared_ptr<const Model>(new Model(std::move(state)));
}

const std::string& Model::name() const {
  return state_->name;
}
const std::vector<int64_t>& Model::input_dims() const {
  return state_->program.input_dims;
}
const std::vector<int64_t>& Model::output_dims() const {
  return state_->program.output_dims;
}
int64_t Model::feature_count() const {
  return static_cast<int64_t>(state_->program.features.channels.size());
}
bool Model::gives_probabilities() const {
  return state_->program.probabilities;
}
const std::map<std::string, std::string>& Model::metadata() const {
  return state_->metadata;
}
int64_t Model::madds() const {
  return state_->program.madds;
}

// Threads share each step; or, with enough pictures, each takes whole ones, in memory of its own, and they
// share what comes behind the last average.
struct Session::State {
  State(std::shared_ptr<const Model> m, int64_t n, int threads)
      : model(std::move(m)),
        kernels(*model->state_->kernels),
        batch(n),
        whole_pictures(threads > 1 && (batch % threads == 0 || batch >= 4 * threads)),
        sharing(whole_pictures ? 1 : threads),
        units(find_units(model->state_->program, kernels.lanes)),
        layout(model->state_->program, units, kernels.lanes, batch, sharing),
        own(threads) {
    const Program& program = model->state_->program;
    for (int t = 0; t < (whole_pictures ? threads : 1); ++t) {
      own[t].memory.assign(layout.floats(), 0.0f);
      own[t].tasks = make_tasks(program, units, {layout, own[t].memory.data(), own[0].memory.data()}, batch,
                                threads, whole_pictures, kernels.lanes);
    }
    std::vector<int64_t> pieces;
    for (const Task& task : tasks()) {
      pieces.push_back(task.block_parts * task.row_parts);
      each += !task.tail;
    }
    pieces.push_back(batch);
    team.emplace(std::move(pieces), threads,
                 [this](int64_t job, int64_t piece, int thread) { work(job, piece, thread); });
  }

  const std::vector<Task>& tasks() const { return own[0].tasks; }
  int64_t count() const { return static_cast<int64_t>(tasks().size()); }

  void work(int64_t job, int64_t piece, int thread) {
    if (job < count()) {
      execute(kernels, tasks()[job], piece, picture, thread, own[thread].kept, serial, arrays);
      return;
    }
    for (int64_t k = 0; k < each; ++k) {
      execute(kernels, own[thread].tasks[k], 0, piece, 0, own[thread].kept, piece, arrays);
      if (profiles && thread == 0) lap(k);
    }
  }

  template <class After>
  void run(After after) {
    if (whole_pictures) {
      team->run(count(), count() + 1, [this](int64_t) { last = Clock::now(); });
    } else {
      for (picture = 0; picture < batch; ++picture, ++serial) team->run(0, each, after);
    }
    picture = 0;
    if (each < count()) team->run(each, count(), after);
  }

  // What has passed since the last lap went into layer k.
  void lap(int64_t k) {
    const auto now = Clock::now();
    const double passed = std::chrono::duration<double>(now - last).count();
    seconds[k] += passed;
    best[k] = std::min(best[k], passed);
    last = now;
  }

  using Clock = std::chrono::steady_clock;
  struct alignas(64) Own {  // of each thread
    AlignedFloats memory;
    std::vector<Task> tasks;
    Kept kept;
  };

  const std::shared_ptr<const Model> model;
  const Kernels& kernels;
  const int64_t batch;
  const bool whole_pictures;
  const int sharing;  // threads that share a step
  const std::map<int, Unit> units;
  const Layout layout;
  std::vector<Own> own;
  int64_t each = 0;  // tasks before the tail
  int64_t picture = 0, serial = 0;
  Arrays arrays;
  bool profiles = false;
  std::vector<double> seconds, best;
  int64_t runs = 0;
  Clock::time_point last;
  std::optional<Team> team;  // last: its threads use the rest
};

Session::Session(std::shared_ptr<const Model> model, int64_t batch, int threads) {
  if (!model) throw Error(ErrorCode::kInvalidArgument, "model", "is null");
  if (batch < 1 || batch > (1 << 20))
    throw Error(ErrorCode::kInvalidArgument, "batch", "must be from 1 to 1048576");
  if (threads < 1 || threads > 1024)
    throw Error(ErrorCode::kInvalidArgument, "threads", "must be from 1 to 1024");
  state_ = std::make_unique<State>(std::move(model), batch, threads);
  profile(false);
}
Session::~Session() = default;

void Session::run(const float* input, float* output, float* features) noexcept {
  State& s = *state_;
  s.arrays = {input, output, features};
  if (!s.profiles) return s.run([](int64_t) {});
  s.last = State::Clock::now();
  s.run([&](int64_t job) { s.lap(job); });
  ++s.runs;
}

void Session::profile(bool on) {
  state_->profiles = on;
  state_->runs = 0;
  state_->seconds.assign(state_->tasks().size(), 0.0);
  state_->best.assign(state_->tasks().size(), std::numeric_limits<double>::infinity());
}

std::vector<Session::Layer> Session::layers() const {
  constexpr const char* kKinds[] = {"pointwise", "depthwise", "pool",   "average", "function",
                                    "sum",       "scale",     "copy",   "input",   "output",
                                    "unit",      "save",      "softmax"};
  std::vector<Layer> layers;
  const double share = 1.0 / static_cast<double>(std::max<int64_t>(state_->runs, 1) * state_->batch);
  for (size_t k = 0; k < state_->tasks().size(); ++k) {
    const Task& task = state_->tasks()[k];
    const double pictures = task.tail ? static_cast<double>(state_->batch) : 1.0;
    const double average = state_->seconds[k] * share;
    // While the caller's thread has lost its core others finish layers, which then took it no time at all.
    const double best = state_->own.size() > 1 ? average : state_->best[k] / pictures;
    layers.push_back(
        {task.name, kKinds[task.args.index()], average, best, task.madds / pictures, task.shifts});
  }
  return layers;
}

int64_t Session::memory_bytes() const {
  size_t floats = 0;
  for (const State::Own& own : state_->own) floats += own.memory.size();
  return static_cast<int64_t>(floats * sizeof(float));
}

}  // namespace fewshift::engine
