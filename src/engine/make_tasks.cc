// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>

#include "engine/task.h"

namespace fewshift::engine {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class Maker {
 public:
  Maker(const Program& program, const std::map<int, Unit>& units, const Place& place, int64_t batch,
        int threads, bool whole_pictures, int lanes)
      : program_(program),
        units_(units),
        layout_(place.layout),
        memory_(place.memory),
        tail_(place.tail),
        batch_(batch),
        threads_(threads),
        whole_pictures_(whole_pictures),
        lanes_(lanes) {}

  std::vector<Task> run() {
    const Map& in = program_.maps[program_.input];
    Task take;
    take.name = "input";
    take.args = TakeInput{in.channels,
                          in.height,
                          in.width,
                          place(program_.input, 0),
                          layout_.row(program_.input),
                          layout_.block(program_.input),
                          static_cast<int>(layout_.pixel(program_.input))};
    take.rows = in.height;
    split(take, static_cast<double>(in.channels * in.width) / 4);
    tasks_.push_back(std::move(take));
    std::vector<Task> last;  // what the tail computes is given at the end
    std::vector<Task> first;
    for (const bool features : {false, true}) {
      const View& view = features ? program_.features : program_.output;
      if (!features || !view.channels.empty())
        (in_tail(view) ? last : first).push_back(giving(view, features));
    }
    auto give = [this](std::vector<Task>& tasks) {
      for (Task& task : tasks) tasks_.push_back(std::move(task));
      tasks.clear();
    };
    for (int k = 0; k < static_cast<int>(program_.steps.size()); ++k) {
      const Step& step = program_.steps[k];
      if (step.tail) give(first);
      const auto unit = units_.find(k);
      if (unit == units_.end()) {
        tasks_.push_back(task_of(step));
      } else {
        Task bands = task_of(unit->second);
        if (unit->second.overwrites && bands.row_parts > 1) tasks_.push_back(saving(k, bands));
        tasks_.push_back(std::move(bands));
        k += unit->second.count - 1;
      }
    }
    give(first);
    give(last);
    for (Task& task : tasks_) {  // which have now found their places
      point(task);
      for (Task& part : task.parts) point(part);
    }
    return std::move(tasks_);
  }

 private:
  bool in_tail(const View& view) const {
    return std::any_of(view.channels.begin(), view.channels.end(),
                       [&](const Source& s) { return s.map >= 0 && program_.maps[s.map].tail; });
  }
  CopyChannels::From from(const Source& s, const View& view) const {
    if (s.map < 0) return {nullptr, 0, 0};
    return {place(s.map, s.channel, s.dy, s.dx), view.stride_y * layout_.row(s.map),
            view.stride_x * layout_.pixel(s.map)};
  }
  Task giving(const View& view, bool features) const {
    GiveOutput out;
    out.features = features;
    for (const Source& s : view.channels) out.from.push_back(from(s, view));
    out.rows = view.height, out.columns = view.width;
    Task task;
    task.name = features ? "features" : "output";
    task.tail = in_tail(view);
    if (task.tail) out.pictures = batch_;
    task.args = std::move(out);
    return task;
  }

  static void point(Task& task) {
    if (auto* args = std::get_if<Pointwise>(&task.args)) args->offsets = task.offsets.data();
    if (auto* args = std::get_if<Depthwise>(&task.args)) args->taps = task.offsets.data();
  }

  Task task_of(const Unit& unit) {
    Task task;
    for (int k = unit.first; k < unit.first + unit.count; ++k) {
      task.parts.push_back(task_of(program_.steps[k]));
      task.madds += task.parts.back().madds;
      task.shifts |= task.parts.back().shifts;
    }
    const Task& expand = task.parts.front();
    Task& project = task.parts.back();
    if (unit.count == 2) {  // what it reads begins with the rows above
      const auto& inputs = std::get<Convolve>(program_.steps[unit.first + 1].op).inputs;
      for (const Group& group : unit.groups) {
        for (size_t k = 0; k < inputs.size(); ++k) {
          const int block = inputs[k].channel / lanes_;
          if (group.block_begin <= block && block < group.block_end)
            project.offsets[k] += static_cast<int32_t>(group.above * layout_.row(unit.hidden));
        }
      }
    }
    // "units.3" of "units.3.expand" and "units.3.project"
    const std::string unit_name = expand.name.substr(0, expand.name.rfind('.'));
    const bool one = unit_name.find('.') != std::string::npos && project.name.starts_with(unit_name + ".");
    task.name = one ? unit_name : expand.name + " to " + project.name;
    task.args = Bands{unit, program_.maps[unit.hidden].height, layout_.band_floats()};
    task.rows = project.rows;
    split(task, task.madds / static_cast<double>(task.rows));
    task.block_parts = 1;
    // Rows beside a border are computed on both sides of it, if not by the same thread.
    const int64_t beside = unit.above() + unit.below(), most = task.rows / std::max<int64_t>(2 * beside, 1);
    if (task.row_parts > most) task.row_parts = std::max<int64_t>(most / threads_ * threads_, 1);
    return task;
  }

  // What comes before a unit that begins with step `first`, and where the unit finds it.
  Task saving(int first, Task& bands) const {
    const Unit& unit = std::get_if<Bands>(&bands.args)->unit;
    const auto& expand = *std::get_if<Pointwise>(&bands.parts.front().args);
    SaveRows save;
    save.x_row = expand.x_row, save.floats = expand.columns * lanes_;
    save.rows = bands.rows, save.pieces = bands.row_parts;
    save.above = unit.above(), save.below = unit.below();
    std::map<std::pair<int, int>, int64_t> places;  // of each block of channels
    for (const Source& s : std::get<Convolve>(program_.steps[first].op).inputs) {
      const int block = s.channel / lanes_;
      const auto [found, added] = places.try_emplace({s.map, block}, save.blocks.size());
      if (added) save.blocks.push_back(place(s.map, int64_t{block} * lanes_));
      bands.saved.offsets.push_back(static_cast<int32_t>(found->second * save.floats + s.channel % lanes_));
    }
    bands.saved.row = static_cast<int64_t>(save.blocks.size()) * save.floats;
    bands.saved.floats.resize((save.pieces - 1) * (save.above + save.below) * bands.saved.row);
    save.y = bands.saved.floats.data();
    Task task;
    task.name = bands.name + ".save";
    task.rows = task.row_parts = bands.row_parts - 1;  // a border each
    task.args = std::move(save);
    return task;
  }

  Task task_of(const Step& step) {
    step_ = &step;
    Task task;
    task.name = step_->name;
    task.tail = step_->tail;
    task.shifts = step_->shifts;
    map_ = step_->writes;
    first_ = 0;
    if (program_.maps[map_].in_place_of >= 0)
      first_ = program_.maps[map_].first, map_ = program_.maps[map_].in_place_of;
    const Map& own = program_.maps[step_->writes];
    columns_ = task.tail ? batch_ : own.width;
    if (own.tail && !task.tail) task.own_column = lanes_;
    task.rows = own.height;
    task.blocks = (first_ % lanes_ + own.channels + lanes_ - 1) / lanes_;
    std::visit([&](const auto& op) { fill(op, task); }, step_->op);
    return task;
  }

  float* place(int map, int64_t c, int64_t i = 0, int64_t j = 0) const {
    return (program_.maps[map].tail ? tail_ : memory_) + layout_.place(map, c, i, j);
  }
  float* y() const { return place(map_, first_ / lanes_ * lanes_); }
  template <class Args>
  void output(Args& args) const {
    args.y = y();
    args.columns = columns_;
    args.y_row = layout_.row(map_), args.y_block = layout_.block(map_);
  }
  const float* x(size_t k) const {
    const Source& s = step_->reads[k].channels.front();
    return place(s.map, s.channel);
  }
  int input(size_t k) const { return step_->reads[k].channels.front().map; }

  void fill(const Convolve& op, Task& task) {
    Pointwise args;
    args.inputs = static_cast<int64_t>(op.inputs.size());
    args.x = memory_;
    for (const Source& s : op.inputs) {
      task.offsets.push_back(static_cast<int32_t>(layout_.place(s.map, s.channel, s.dy, s.dx)));
      args.x_row = op.stride_y * layout_.row(s.map);
      args.x_pixel = (task.tail ? 1 : op.stride_x) * layout_.pixel(s.map);  // a tail's columns are pictures
    }
    args.weights = program_.weights.data() + op.packed;
    args.bias = program_.weights.data() + op.packed_bias;
    output(args);
    if (op.conv.adds) {  // over itself, or a whole map like y
      const Source& s = step_->reads[1].channels.front();
      args.residual = place(s.map, s.channel / lanes_ * lanes_);
    }
    args.low = op.conv.low, args.high = op.conv.high;
    task.args = args;
    const auto outputs = static_cast<double>(program_.maps[step_->writes].channels);
    task.madds = outputs * static_cast<double>(args.inputs * task.rows * columns_);
    split(task, static_cast<double>(args.inputs * columns_ * lanes_ * task.blocks));
  }
  void fill(const ConvolveDepthwise& op, Task& task) {
    Depthwise args;
    const graph::Conv& c = op.conv;
    const int map = input(0);
    args.x = x(0);
    for (int64_t k = 0; k < c.kernel[0]; ++k) {
      for (int64_t l = 0; l < c.kernel[1]; ++l) {
        task.offsets.push_back(static_cast<int32_t>((k * c.dilation[0] - c.pad_begin[0]) * layout_.row(map) +
                                                    (l * c.dilation[1] - c.pad_begin[1]) * lanes_));
      }
    }
    args.tap_count = static_cast<int64_t>(task.offsets.size());
    if (c.kernel[0] == c.kernel[1] && c.stride[0] == c.stride[1] && c.dilation == graph::Pair{1, 1})
      args.kernel = c.kernel[0], args.stride = c.stride[0];
    args.tap_row = layout_.row(map);
    args.x_row = c.stride[0] * layout_.row(map), args.x_pixel = c.stride[1] * lanes_,
    args.x_block = layout_.block(map);
    args.weights = program_.weights.data() + op.packed;
    args.bias = program_.weights.data() + op.packed_bias;
    output(args);
    args.low = c.low, args.high = c.high;
    task.args = args;
    const auto channels = static_cast<double>(program_.maps[step_->writes].channels);
    task.madds = channels * static_cast<double>(args.tap_count * task.rows * columns_);
    split(task, 2.0 * static_cast<double>(args.tap_count * columns_ * lanes_ * task.blocks));
  }
  void fill(const PoolPixels& op, Task& task) {
    Pool args;
    const graph::Pool& p = op.pool;
    const int map = input(0);
    args.max = p.max;
    args.kernel_y = p.kernel[0], args.kernel_x = p.kernel[1], args.stride_y = p.stride[0],
    args.stride_x = p.stride[1];
    args.pad_y = p.pad_begin[0], args.pad_x = p.pad_begin[1];
    args.x = x(0);
    args.x_rows = step_->reads[0].height, args.x_columns = step_->reads[0].width;
    args.x_row = layout_.row(map), args.x_block = layout_.block(map);
    output(args);
    task.args = args;
    split(task, 4.0 * static_cast<double>(args.kernel_y * args.kernel_x * columns_ * lanes_ * task.blocks));
  }
  void fill(const AveragePixels&, Task& task) {
    GlobalAverage args;
    const int map = input(0);
    args.x = x(0);
    args.x_rows = step_->reads[0].height, args.x_columns = step_->reads[0].width;
    args.x_row = layout_.row(map), args.x_block = layout_.block(map);
    args.y = y();
    args.y_block = layout_.block(map_);
    task.args = args;
    split(task, 4.0 * static_cast<double>(args.x_rows * args.x_columns * lanes_ * task.blocks));
  }
  void fill(const Apply& op, Task& task) {
    Unary args;
    args.function = op.function;
    args.low = op.low, args.high = op.high;
    args.x = x(0);
    args.x_row = layout_.row(input(0)), args.x_block = layout_.block(input(0));
    output(args);
    task.args = args;
    split(task, 16.0 * static_cast<double>(columns_ * lanes_ * task.blocks));
  }
  void fill(const Combine& op, Task& task) {
    Binary args;
    args.multiply = op.multiply;
    args.a = x(0), args.b = x(1);
    args.a_row = layout_.row(input(0)), args.a_block = layout_.block(input(0));
    args.b_row = layout_.row(input(1)), args.b_block = layout_.block(input(1));
    output(args);
    args.low = -kInfinity, args.high = kInfinity;
    task.args = args;
    split(task, 4.0 * static_cast<double>(columns_ * lanes_ * task.blocks));
  }
  void fill(const Scale& op, Task& task) {
    Affine args;
    if (step_->reads.size() > 1) {
      (op.adds ? args.shift : args.scale) = x(1);
      (op.adds ? args.shift_block : args.scale_block) = layout_.block(input(1));
    } else {
      args.scale = op.scale.data(), args.shift = op.shift.data();
      args.scale_block = args.shift_block = lanes_;
    }
    args.x = x(0);
    args.x_row = layout_.row(input(0)), args.x_block = layout_.block(input(0));
    output(args);
    args.low = op.low, args.high = op.high;
    task.args = args;
    split(task, 4.0 * static_cast<double>(columns_ * lanes_ * task.blocks));
  }
  void fill(const Copy&, Task& task) {
    CopyChannels args;
    const View& view = step_->reads[0];
    for (const Source& s : view.channels) args.from.push_back(from(s, view));
    output(args);
    args.lanes = lanes_;
    task.args = std::move(args);
    split(task, 16.0 * static_cast<double>(columns_ * lanes_ * task.blocks));
  }

  void fill(const SoftMax&, Task& task) {
    SoftMaxPixels args;
    args.x = x(0);
    args.x_row = layout_.row(input(0)), args.x_block = layout_.block(input(0));
    args.channels = program_.maps[step_->writes].channels;
    args.lanes = lanes_;
    output(args);
    task.args = args;
    task.blocks = 1;  // all at once
    split(task, 64.0 * static_cast<double>(columns_ * args.channels));
  }

  // Into pieces of about ten microseconds, a multiple of the threads: rows first, then blocks. row_cost: in
  // multiply-adds.
  void split(Task& task, double row_cost) const {
    if (threads_ == 1 || (whole_pictures_ && !task.tail)) return;
    const double microseconds = row_cost * static_cast<double>(task.rows) / (3000.0 * lanes_);
    if (microseconds < 3) return;
    const int64_t most = int64_t{8} * threads_;
    int64_t pieces = std::clamp<int64_t>(static_cast<int64_t>(microseconds / 10), threads_, most);
    pieces = (pieces + threads_ - 1) / threads_ * threads_;
    task.row_parts = std::min(task.rows, pieces);
    // Rows that do not divide evenly among the threads: blocks do.
    if (task.rows < pieces && task.blocks >= 4) {
      task.row_parts = 1;
      task.block_parts = std::min(task.blocks / 2, pieces);
    }
  }

  const Program& program_;
  const std::map<int, Unit>& units_;
  const Layout& layout_;
  float *const memory_, *const tail_;
  const int64_t batch_;
  const int threads_;
  const bool whole_pictures_;
  const int lanes_;
  std::vector<Task> tasks_;
  const Step* step_ = nullptr;
  int map_ = 0, first_ = 0;
  int64_t columns_ = 0;
};

}  // namespace

std::vector<Task> make_tasks(const Program& program, const std::map<int, Unit>& units, const Place& place,
                             int64_t batch, int threads, bool whole_pictures, int lanes) {
  return Maker(program, units, place, batch, threads, whole_pictures, lanes).run();
}

}  // namespace fewshift::engine
