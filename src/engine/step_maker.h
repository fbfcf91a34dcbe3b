// What a graph's values are while a program is made of them, and how steps are added to it.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <limits>

#include "core/error.h"
#include "engine/program.h"
#include "graph/passes/passes.h"

namespace fewshift::engine {

using graph::Dims;
using graph::Node;

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
inline constexpr int64_t kLongest = int64_t{1} << 20;   // rows and columns of a map
inline constexpr int64_t kFarthest = int64_t{1} << 10;  // the stride of a view
inline constexpr int64_t kMostSources = int64_t{1} << 24;

// What a value is while steps are made: a view, and for a moment, in a shuffle, two factors of its channels,
// or, before an average, its pixels in one dimension.
struct Seen {
  View view;
  int64_t outer = 0, inner = 0;  // [N,outer,inner,H,W] where set
  bool flat = false;             // [N,C,H*W]
};

class StepMaker {
 public:
  StepMaker(graph::Graph& graph, int lanes, const graph::Limits& limits)
      : graph_(graph),
        lanes_(lanes),
        limits_(limits),
        seen_(graph.values.size()),
        readers_(count_readers(graph)) {
    Dims input = graph.input_dims;
    if (input.size() != 4)
      throw Error(ErrorCode::kUnsupported, "input", "is " + graph::text(input) + ", not NCHW");
    input[0] = 1;
    dims_ = infer_shapes(graph, input);
    find_tail();
  }

 protected:
  [[noreturn]] void refuse(const std::string& what) const {
    if (!node_) throw Error(ErrorCode::kUnsupported, "the input", what);
    throw Error(ErrorCode::kUnsupported, "node " + node_->name + " (" + kind(node_->op) + ")", what);
  }
  // What the last pooling of a whole map gives.
  View features() const {
    for (size_t k = graph_.nodes.size(); k-- > 0;) {
      const Node& node = graph_.nodes[k];
      const auto* pool = std::get_if<graph::Pool>(&node.op);
      if (std::holds_alternative<graph::GlobalAverage>(node.op) ||
          (pool && one_pixel(dims_[node.output]) && !one_pixel(dims_[node.inputs[0]])))
        return seen_[node.output].view;
    }
    return {};
  }
  bool is_constant(int v) const { return graph_.values[v].constant.has_value(); }
  const graph::Tensor& constant(size_t k) const {
    const auto& value = graph_.values[node_->inputs[k]].constant;
    if (!value) refuse("its input " + std::to_string(k) + " is no constant");
    return *value;
  }
  static bool one_pixel(const Dims& dims) {
    return dims.size() == 2 || (dims.size() == 3 && dims[2] == 1) ||
           (dims.size() == 4 && dims[2] == 1 && dims[3] == 1);
  }

  // A constant's numbers, which nobody else reads.
  Floats take(size_t k) {
    Floats& values = graph_.values[node_->inputs[k]].constant->values;
    return readers_[node_->inputs[k]] == 1 ? std::move(values) : values;
  }

  // Values of one pixel that only values of one pixel follow: pictures of a batch become their columns.
  void find_tail() {
    tail_.assign(dims_.size(), false);
    tail_[graph_.output] = one_pixel(dims_[graph_.output]);
    std::vector<char> all(dims_.size(), true);  // readers, so far, in the tail
    all[graph_.output] = tail_[graph_.output];
    for (size_t k = graph_.nodes.size(); k-- > 0;) {
      const Node& node = graph_.nodes[k];
      tail_[node.output] = all[node.output] && one_pixel(dims_[node.output]);
      for (int v : node.inputs) all[v] = all[v] && tail_[node.output];
    }
    for (const Node& node : graph_.nodes) {  // one that reads both kinds, or is a view across: no tail at all
      bool some = false, every = true;
      for (int v : node.inputs) {
        if (!is_constant(v)) some |= tail_[v], every &= tail_[v];
      }
      if ((some && !every) || (makes_view(node) && some != static_cast<bool>(tail_[node.output])))
        tail_.assign(dims_.size(), false);
    }
  }
  bool makes_view(const Node& node) const {
    if (std::holds_alternative<graph::Pool>(node.op) || std::holds_alternative<graph::GlobalAverage>(node.op))
      return one_pixel(dims_[node.inputs[0]]) && one_pixel(dims_[node.output]);
    return std::holds_alternative<graph::Shift>(node.op) || std::holds_alternative<graph::Concat>(node.op) ||
           std::holds_alternative<graph::Slice>(node.op) || std::holds_alternative<graph::Pad>(node.op) ||
           std::holds_alternative<graph::Reshape>(node.op) ||
           std::holds_alternative<graph::Transpose>(node.op);
  }

  bool only_convolved(int v) const {
    for (const Node& node : graph_.nodes) {
      if (std::find(node.inputs.begin(), node.inputs.end(), v) == node.inputs.end()) continue;
      const auto* conv = std::get_if<graph::Conv>(&node.op);
      if (!conv || depthwise(*conv, node) || node.inputs[0] != v) return false;
    }
    return v != graph_.output;
  }
  bool depthwise(const graph::Conv& op, const Node& node) const {
    const Dims& w = dims_[node.inputs[1]];
    return op.groups > 1 && w[1] == 1 && w[0] == op.groups;
  }

  int new_map(const Dims& dims, bool tail) {
    const bool pixels = dims.size() == 4;
    if (dims.size() != 4 && dims.size() != 2 && !one_pixel(dims)) refuse("is of size " + graph::text(dims));
    if (pixels && std::max(dims[2], dims[3]) > kLongest) refuse("is of size " + graph::text(dims));
    program_.maps.push_back({dims[1], pixels ? dims[2] : 1, pixels ? dims[3] : 1, false, tail, -1, 0});
    return static_cast<int>(program_.maps.size()) - 1;
  }
  // Views are lists: of graphs made to be large they would be larger than the file by far.
  void count(int64_t sources) {
    sources_ += sources;
    if (sources_ > kMostSources) refuse("it and those before it have too many channels");
  }
  void count_weights(int64_t floats) {
    weights_ += floats;
    if (weights_ > limits_.weight_bytes / 4) refuse("its weights and those before it are beyond the limit");
  }
  Seen whole(int map) {
    const Map& m = program_.maps[map];
    count(m.channels);
    View view{{}, m.height, m.width, 1, 1};
    for (int64_t c = 0; c < m.channels; ++c) view.channels.push_back({map, static_cast<int>(c), 0, 0});
    return {std::move(view), 0, 0};
  }
  const Seen& seen(int v) const {
    if (is_constant(v)) refuse("computes with the constant " + graph_.values[v].name);
    return seen_[v];
  }
  const View& view(size_t k) const {
    const Seen& s = seen(node_->inputs[k]);
    if (s.outer > 0 || s.flat) refuse("reads a value of " + graph::text(dims_[node_->inputs[k]]));
    return s.view;
  }
  void set(View view) {
    count(static_cast<int64_t>(view.channels.size()));
    if (std::max(view.height, view.width) > kLongest) refuse("makes a map of too many rows or columns");
    seen_[node_->output] = {std::move(view), 0, 0};
  }

  // That writes a map of these dimensions.
  Step& step(Operator op, std::vector<View> reads, const Dims& dims) {
    const bool tail = tail_[node_->output];
    bool reads_tail = false;
    for (int v : node_->inputs) reads_tail |= !is_constant(v) && tail_[v];
    const int map = new_map(dims, tail);
    program_.steps.push_back({node_->name, std::move(op), std::move(reads), map, reads_tail, false});
    return program_.steps.back();
  }
  // That writes the node's output.
  Step& step(Operator op, std::vector<View> reads) {
    Step& made = step(std::move(op), std::move(reads), dims_[node_->output]);
    seen_[node_->output] = whole(made.writes);
    return made;
  }
  static bool displaced(const View& view) {
    return std::any_of(view.channels.begin(), view.channels.end(),
                       [](const Source& s) { return s.dy != 0 || s.dx != 0; });
  }
  // The view in a map of its own, where its pixels' neighbours are its own too.
  View copied(const View& view) {
    for (const Source& s : view.channels) {
      if (s.map >= 0 && program_.maps[s.map].tail) refuse("copies what is computed for all pictures at once");
    }
    program_.maps.push_back(
        {static_cast<int64_t>(view.channels.size()), view.height, view.width, false, false, -1, 0});
    const int map = static_cast<int>(program_.maps.size()) - 1;
    program_.steps.push_back({node_->name + ".copy", Copy{}, {view}, map, false, true});
    return whole(map).view;
  }
  View settled(size_t k) { return displaced(view(k)) ? copied(view(k)) : view(k); }

  graph::Graph& graph_;
  const int lanes_;
  const graph::Limits limits_;
  int64_t sources_ = 0, weights_ = 0;
  std::vector<Dims> dims_;
  std::vector<Seen> seen_;
  std::vector<char> tail_;
  std::vector<int> readers_;
  Program program_;
  const Node* node_ = nullptr;
};

}  // namespace fewshift::engine
