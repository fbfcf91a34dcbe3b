// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <numeric>
#include <set>
#include <tuple>

#include "engine/program.h"
#include "kernels/depthwise.h"
#include "kernels/pointwise.h"

namespace fewshift::engine {
namespace {

class Preparation {
 public:
  Preparation(Program& program, int lanes) : program_(program), lanes_(lanes) {}

  void run() {
    for (Step& step : program_.steps) {
      for (View& view : step.reads) view = resolved(program_, view);
      step_ = &step;
      std::visit([&](auto& op) { settle(op); }, step.op);
      done_.push_back(std::move(step));
    }
    program_.steps = std::move(done_);
    program_.output = resolved(program_, program_.output);
    program_.features = resolved(program_, program_.features);
    size_t most = 0;  // all at once, so that it lies in one piece
    for (const Step& step : program_.steps) {
      if (const auto* op = std::get_if<Convolve>(&step.op)) most += room(op->bias.size(), op->weight.size());
      if (const auto* op = std::get_if<ConvolveDepthwise>(&step.op))
        most += room(op->bias.size(), op->weight.size());
    }
    program_.weights.reserve(most);
    for (Step& step : program_.steps) {
      step_ = &step;
      std::visit([&](auto& op) { pack(op); }, step.op);
    }
  }

 private:
  // Channels of one map, as they stand, from the beginning of a vector on.
  bool aligned(const View& view) const {
    const int first = run_of(view);
    return first >= 0 && first % lanes_ == 0 && !program_.maps[view.channels.front().map].planar;
  }
  bool in_tail(const View& view) const {
    return std::any_of(view.channels.begin(), view.channels.end(),
                       [&](const Source& s) { return s.map >= 0 && program_.maps[s.map].tail; });
  }
  void copy(View& view, int map) {
    done_.push_back({step_->name + ".copy", Copy{}, {view}, map, step_->tail, true});
    View copied{{}, view.height, view.width, 1, 1};
    for (size_t c = 0; c < view.channels.size(); ++c)
      copied.channels.push_back({map, static_cast<int>(c), 0, 0});
    view = resolved(program_, copied);
  }
  void copy(View& view) {
    program_.maps.push_back(
        {static_cast<int64_t>(view.channels.size()), view.height, view.width, false, in_tail(view), -1, 0});
    copy(view, static_cast<int>(program_.maps.size()) - 1);
  }
  void align_all() {
    for (View& view : step_->reads) {
      if (!aligned(view)) copy(view);
    }
  }

  void settle(Convolve& op) {
    // Inputs in maps of one kind have rows of one length.
    std::set<std::tuple<int64_t, int64_t, bool, bool>> kinds;
    for (const Source& s : step_->reads[0].channels) {
      if (s.map < 0) continue;
      const Map& m = program_.maps[s.map];
      kinds.emplace(m.height, m.width, m.planar, m.tail);
    }
    if (kinds.size() > 1) copy(step_->reads[0]);
    if (!op.conv.adds) return;
    const Map& own = program_.maps[step_->writes];
    View& summand = step_->reads[1];
    if (own.in_place_of >= 0) return;
    const bool same = aligned(summand) && program_.maps[summand.channels.front().map].tail == own.tail;
    if (!same) copy(summand, step_->writes);  // and added to where it lies
  }
  void settle(ConvolveDepthwise&) { align_all(); }
  void settle(PoolPixels&) { align_all(); }
  void settle(AveragePixels&) { align_all(); }
  void settle(Apply&) { align_all(); }
  void settle(Combine&) { align_all(); }
  void settle(Scale&) { align_all(); }
  void settle(SoftMax&) { align_all(); }
  void settle(Copy&) {}

  // At most, with the lanes that stay empty.
  size_t room(size_t outputs, size_t weights) const {
    const size_t full = outputs + 2 * static_cast<size_t>(lanes_);
    return full + (outputs ? weights / outputs * full : 0);
  }
  int64_t keep(const AlignedFloats& floats) {
    const auto place = static_cast<int64_t>(program_.weights.size());
    program_.weights.insert(program_.weights.end(), floats.begin(), floats.end());
    return place;
  }

  AlignedFloats in_vectors(const Floats& values, int first = 0) const {
    AlignedFloats result((first + values.size() + lanes_ - 1) / lanes_ * lanes_, 0.0f);
    std::copy(values.begin(), values.end(), result.begin() + first);
    return result;
  }

  void pack(Convolve& op) {
    const View& x = step_->reads[0];
    const Map& y = program_.maps[step_->writes];
    const graph::Conv& conv = op.conv;
    const int64_t taps = conv.kernel[0] * conv.kernel[1], inputs = static_cast<int64_t>(x.channels.size()),
                  outputs = static_cast<int64_t>(op.bias.size());
    op.stride_y = x.stride_y * conv.stride[0], op.stride_x = x.stride_x * conv.stride[1];
    std::vector<int64_t> channels(inputs), kept;  // in the order in which they lie
    std::iota(channels.begin(), channels.end(), 0);
    std::stable_sort(channels.begin(), channels.end(), [&](int64_t a, int64_t b) {
      const Source &s = x.channels[a], &t = x.channels[b];
      return std::pair(s.map, s.channel) < std::pair(t.map, t.channel);
    });
    for (int64_t t = 0; t < taps; ++t) {
      for (int64_t c : channels) {
        Source s = x.channels[c];
        if (s.map < 0) continue;
        s.dy += static_cast<int>(x.stride_y * (t / conv.kernel[1] * conv.dilation[0] - conv.pad_begin[0]));
        s.dx += static_cast<int>(x.stride_x * (t % conv.kernel[1] * conv.dilation[1] - conv.pad_begin[1]));
        const Map& m = program_.maps[s.map];
        if (!graph::sees(s.dy, op.stride_y, y.height, m.height) ||
            !graph::sees(s.dx, op.stride_x, y.width, m.width))
          continue;
        op.inputs.push_back(s);
        kept.push_back(c * taps + t);
      }
    }
    if (op.order.empty()) {
      op.order.resize(outputs);
      std::iota(op.order.begin(), op.order.end(), 0);
    }
    const int first = y.first % lanes_;
    const Floats weight = std::move(op.weight), bias = std::move(op.bias);
    op.packed = pack_pointwise(weight.data(), inputs * taps, op.order, kept, lanes_, first, program_.weights);
    Floats ordered(bias.size(), 0.0f);
    for (int64_t o = 0; o < outputs; ++o) ordered[o] = bias[op.order[o]];
    op.packed_bias = keep(in_vectors(ordered, first));
  }
  void pack(ConvolveDepthwise& op) {
    const int64_t taps = op.conv.kernel[0] * op.conv.kernel[1];
    op.packed = pack_depthwise(op.weight.data(), static_cast<int64_t>(op.bias.size()), taps, lanes_,
                               program_.weights);
    op.packed_bias = keep(in_vectors(op.bias));
    op.weight = {}, op.bias = {};
  }
  void pack(Scale& op) {
    op.scale.resize((op.scale.size() + lanes_ - 1) / lanes_ * lanes_, 1.0f);
    op.shift.resize((op.shift.size() + lanes_ - 1) / lanes_ * lanes_, 0.0f);
  }
  template <class Op>
  void pack(Op&) {}

  Program& program_;
  const int lanes_;
  std::vector<Step> done_;
  Step* step_ = nullptr;
};

}  // namespace

void prepare(Program& program, int lanes) {
  Preparation(program, lanes).run();
}

}  // namespace fewshift::engine
