// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <chrono>
#include <limits>
#include <optional>

#include "core/error.h"
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

std::shared_ptr<const Model> Model::load(const std::filesystem::path& file) {
  graph::Graph graph = graph::read_onnx(file);
  try {
    return from(std::move(graph));
  } catch (const Error& error) {
    throw Error(error.code(), file.string(), error.what());
  }
}

std::shared_ptr<const Model> Model::from(graph::Graph graph) {
  auto state = std::make_unique<State>();
  state->kernels = &fewshift::kernels();
  state->name = graph.name;
  state->metadata = graph.metadata;
  state->program = build_program(std::move(graph), state->kernels->lanes);
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
const std::map<std::string, std::string>& Model::metadata() const {
  return state_->metadata;
}
int64_t Model::madds() const {
  return state_->program.madds;
}

struct Session::State {
  State(std::shared_ptr<const Model> m, int64_t n, int threads)
      : model(std::move(m)),
        batch(n),
        units(find_units(model->state_->program, model->state_->kernels->lanes, threads)),
        layout(model->state_->program, units, model->state_->kernels->lanes, batch, threads),
        kept(threads) {
    const Model::State& of = *model->state_;
    memory.assign(layout.floats(), 0.0f);
    tasks = make_tasks(of.program, units, layout, batch, threads, of.kernels->lanes, memory.data());
    std::vector<int64_t> pieces;
    for (const Task& task : tasks) {
      pieces.push_back(task.block_parts * task.row_parts);
      each += !task.tail;
    }
    team.emplace(
        std::move(pieces), threads, [this, &kernels = *of.kernels](int64_t job, int64_t piece, int thread) {
          execute(kernels, tasks[job], piece, picture, thread, kept[thread].kept, serial, input, output);
        });
  }

  template <class After>
  void run(After after) {
    for (picture = 0; picture < batch; ++picture, ++serial) team->run(0, each, after);
    picture = 0;
    if (each < static_cast<int64_t>(tasks.size())) team->run(each, static_cast<int64_t>(tasks.size()), after);
  }

  std::shared_ptr<const Model> model;
  const int64_t batch;
  const std::map<int, Unit> units;
  Layout layout;
  AlignedFloats memory;
  std::vector<Task> tasks;
  int64_t each = 0;  // tasks before the tail
  int64_t picture = 0, serial = 0;
  struct alignas(64) Own {
    Kept kept;
  };
  std::vector<Own> kept;  // of each thread
  const float* input = nullptr;
  float* output = nullptr;
  bool profiles = false;
  std::vector<double> seconds, best;
  int64_t runs = 0;
  std::optional<Team> team;  // last: its threads use the rest
};

Session::Session(std::shared_ptr<const Model> model, int64_t batch, int threads) {
  if (batch < 1 || batch > (1 << 20)) throw Error(ErrorCode::kInvalidArgument, "batch", "must be from 1 on");
  if (threads < 1 || threads > 1024)
    throw Error(ErrorCode::kInvalidArgument, "threads", "must be from 1 to 1024");
  state_ = std::make_unique<State>(std::move(model), batch, threads);
}
Session::~Session() = default;

void Session::run(const float* input, float* output) noexcept {
  State& s = *state_;
  s.input = input, s.output = output;
  if (!s.profiles) return s.run([](int64_t) {});
  using Clock = std::chrono::steady_clock;
  auto last = Clock::now();
  s.run([&](int64_t job) {
    const auto now = Clock::now();
    const double passed = std::chrono::duration<double>(now - last).count();
    s.seconds[job] += passed;
    s.best[job] = std::min(s.best[job], passed);
    last = now;
  });
  ++s.runs;
}

void Session::profile(bool on) {
  state_->profiles = on;
  state_->runs = 0;
  state_->seconds.assign(state_->tasks.size(), 0.0);
  state_->best.assign(state_->tasks.size(), std::numeric_limits<double>::infinity());
}

std::vector<Session::Layer> Session::layers() const {
  constexpr const char* kKinds[] = {"pointwise", "depthwise", "pool",  "average", "function", "sum",
                                    "scale",     "copy",      "input", "output",  "unit",     "save"};
  std::vector<Layer> layers;
  const double share = 1.0 / static_cast<double>(std::max<int64_t>(state_->runs, 1) * state_->batch);
  for (size_t k = 0; k < state_->tasks.size(); ++k) {
    const Task& task = state_->tasks[k];
    const double pictures = task.tail ? static_cast<double>(state_->batch) : 1.0;
    layers.push_back({task.name, kKinds[task.args.index()], state_->seconds[k] * share,
                      state_->best[k] / pictures, task.madds / pictures, task.shifts});
  }
  return layers;
}

int64_t Session::memory_bytes() const {
  return state_->layout.floats() * static_cast<int64_t>(sizeof(float));
}

}  // namespace fewshift::engine
