// Nodes that move values without computing, and those that compute on sizes.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "graph/onnx/node_reader.h"

namespace fewshift::graph::onnx {

class ShapeNodes : public NodeReader {
 protected:
  using NodeReader::NodeReader;

  // A computation on sizes, or on few enough constants: done at once. What cannot be done so with constants
  // is left to the graph, which folds them too (emit).
  bool translate_numbers() {
    if (node_->type == "Shape") return shape(), true;
    if (!computes(node_->type)) return false;
    bool sizes = node_->type == "ConstantOfShape";
    std::vector<Numbers> constants(node_->inputs.size());
    std::vector<const Numbers*> inputs(node_->inputs.size(), nullptr);
    for (size_t k = 0; k < inputs.size(); ++k) {
      if (!has(k)) continue;
      if (const auto found = numbers_.find(input(k)); found != numbers_.end()) {
        inputs[k] = &found->second;
        sizes |= found->second.whole;
        continue;
      }
      const auto value = known_.find(input(k));
      if (value == known_.end() || !g_.values[value->second].constant) return false;
      const Tensor& t = *g_.values[value->second].constant;
      if (t.values.size() > kMostNumbers) return false;
      constants[k] = {t.dims, {t.values.begin(), t.values.end()}, false};
      inputs[k] = &constants[k];
    }
    try {
      keep(out(), compute(*node_, inputs, opset_));
    } catch (const NotComputed& error) {
      if (!sizes) return false;
      unsupported(error.what());
    }
    return true;
  }
  void shape() {
    const auto computed = numbers_.find(input(0));
    const Dims x = computed == numbers_.end() ? dims(0) : computed->second.dims;
    Numbers all{{}, {x.begin(), x.end()}, true};
    if (computed == numbers_.end() && !is_constant(0)) all.values[0] = NAN;
    const auto rank = static_cast<int64_t>(x.size());
    auto place = [&](const char* name, int64_t usual) {
      const int64_t at = integer(name, usual);
      return std::clamp<int64_t>(at < 0 ? at + rank : at, 0, rank);
    };
    const int64_t begin = place("start", 0), end = std::max(begin, place("end", rank));
    all.values = {all.values.begin() + begin, all.values.begin() + end};
    all.dims = {end - begin};
    keep(out(), std::move(all));
  }

  // No operator moves the batch, which is axis 0 of all that is no constant.
  int64_t inner_axis(int64_t given, size_t rank) {
    const int64_t a = axis(given, rank);
    if (a == 0 && !is_constant(0)) unsupported("changes the batch");
    return a;
  }
  void concat() {
    if (!find("axis")) corrupt("has no axis");
    add(Concat{inner_axis(integer("axis", 1), dims(0).size())});
  }
  void split() {
    const Dims x = dims(0);
    const int64_t along = inner_axis(integer("axis", 0), x.size());
    const auto count = static_cast<int64_t>(node_->outputs.size());
    Ints sizes;
    if (opset_ >= 13 && has(1)) sizes = ints(1);
    if (const AttributeMessage* a = find("split"); a && opset_ < 13) sizes = a->integers;
    if (sizes.empty()) {
      const int64_t each = (x[along] + count - 1) / std::max<int64_t>(count, 1);
      if (count < 1 || integer("num_outputs", count) != count || (opset_ < 18 && x[along] % count != 0))
        corrupt("does not split into as many as it says");
      for (int64_t k = 0; k < count; ++k) sizes.push_back(std::clamp<int64_t>(x[along] - k * each, 0, each));
    }
    if (static_cast<int64_t>(sizes.size()) != count) corrupt("has not as many sizes as outputs");
    int64_t begin = 0;
    for (int64_t k = 0; k < count; ++k) {
      if (sizes[k] < 0 || sizes[k] > x[along] - begin) corrupt("takes more than there is");
      const int v = emit("." + std::to_string(k), Slice{along, begin, begin + sizes[k], 1}, {in(0)});
      g_.values[v].name = out(k);
      define(out(k), v);
      begin += sizes[k];
    }
    if (begin != x[along]) corrupt("takes less than there is");
  }
  void slice() {
    const Ints starts = ints(1), ends = ints(2);
    Ints where = has(3) ? ints(3) : Ints(), steps = has(4) ? ints(4) : Ints(starts.size(), 1);
    for (size_t k = 0; k < starts.size() && !has(3); ++k) where.push_back(static_cast<int64_t>(k));
    if (ends.size() != starts.size() || where.size() != starts.size() || steps.size() != starts.size())
      corrupt("has not as many ends, axes and steps as starts");
    const Dims x = dims(0);
    int v = in(0);
    const bool varies = !is_constant(0);
    for (size_t k = 0; k < starts.size(); ++k) {
      const int64_t along = axis(where[k], x.size()), size = x[along];
      auto inside = [&](int64_t place) {
        return std::clamp<int64_t>(place < 0 ? place + size : place, 0, size);
      };
      const int64_t begin = inside(starts[k]), end = inside(ends[k]);
      if (steps[k] < 1) unsupported("goes backwards");
      if (begin == 0 && end == size && steps[k] == 1) continue;
      if (along == 0 && varies) unsupported("changes the batch");
      v = emit("." + std::to_string(k), Slice{along, begin, end, std::min(steps[k], size)}, {v});
    }
    define(out(), v);
  }
  void pad() {
    if (const AttributeMessage* mode = find("mode"); mode && mode->text != "constant")
      unsupported("mode must be constant");
    if (has(2) && number_in(2) != 0.0f) unsupported("pads by zeros alone");
    const Dims x = dims(0);
    const Ints all = ints(1);
    Ints where = has(3) ? ints(3) : Ints();
    for (size_t k = 0; k < x.size() && !has(3); ++k) where.push_back(static_cast<int64_t>(k));
    if (all.size() != 2 * where.size()) corrupt("has not two pads an axis");
    Pad op{Dims(x.size(), 0), Dims(x.size(), 0)};
    int v = in(0);
    for (size_t k = 0; k < where.size(); ++k) {
      const int64_t along = axis(where[k], x.size()), before = all[k], behind = all[where.size() + k];
      if (before != 0 || behind != 0) inner_axis(along, x.size());
      op.before[along] = std::max<int64_t>(before, 0), op.behind[along] = std::max<int64_t>(behind, 0);
      if (before >= 0 && behind >= 0) continue;  // less than nothing: it crops
      const int64_t begin = std::clamp<int64_t>(-before, 0, x[along]),
                    end = x[along] - std::clamp<int64_t>(-behind, 0, x[along]);
      v = emit(".crop" + std::to_string(k), Slice{along, begin, end, 1}, {v});
    }
    add(op, {v});
  }

  // To these sizes, of which the first, but for constants, is the batch. Of what was reshaped before, the
  // value that it was made of is.
  void add_reshape(Dims sizes) {
    if (is_constant(0)) return add(Reshape{std::move(sizes)}, {in(0)});
    const auto before = made_of_.find(in(0));
    const int from = before == made_of_.end() ? in(0) : before->second;
    sizes[0] = 0;
    add(Reshape{std::move(sizes)}, {from});
    made_of_[known_.at(out())] = from;
  }
  void flatten() {
    if (axis(integer("axis", 1), dims(0).size()) != 1) unsupported("is read with axis 1 alone");
    add_reshape({0, -1});
  }
  void reshape() {
    const Dims x = dims(0);
    const Numbers& given = numbers(1);
    if (given.dims.size() != 1 || given.values.empty()) unsupported("its shape is no list");
    Numbers rest = given;
    const double first = given.values[0];
    if (std::isnan(first)) {
      if (is_constant(0)) unsupported("gives a constant the batch's size");
      rest.values[0] = 0;
    }
    Dims sizes;
    try {
      sizes = integers(rest);
    } catch (const std::invalid_argument& error) {
      unsupported(std::string("its shape ") + error.what());
    }
    if (std::isnan(first)) sizes[0] = x[0];
    const std::optional<Dims> made = reshaped(x, sizes, integer("allowzero", 0) == 0);
    if (!made) corrupt("cannot make " + text(sizes) + " of " + text(x));
    if (!is_constant(0) && made->at(0) != x[0])
      unsupported("makes " + text(*made) + " of " + text(x) + ": it changes the batch");
    add_reshape(*made);
  }
  void squeeze() {
    const Dims x = dims(0);
    Ints where = axes(13).value_or(Ints());
    const bool all = where.empty();
    for (int64_t& a : where) a = inner_axis(a, x.size());
    Dims sizes;
    for (size_t k = 0; k < x.size(); ++k) {
      const bool named = std::find(where.begin(), where.end(), static_cast<int64_t>(k)) != where.end();
      if (named && x[k] != 1) corrupt("drops an axis of " + text(x) + " that is longer than 1");
      if (!(named || (all && x[k] == 1 && (k > 0 || is_constant(0))))) sizes.push_back(x[k]);
    }
    if (sizes.empty()) unsupported("leaves no axis");
    add_reshape(std::move(sizes));
  }
  void unsqueeze() {
    Dims sizes = dims(0);
    Ints where = axes(13).value_or(Ints());
    const size_t rank = sizes.size() + where.size();
    if (rank > 16) unsupported("makes a value of " + std::to_string(rank) + " dimensions");
    for (int64_t& a : where) a = inner_axis(a, rank);
    std::sort(where.begin(), where.end());
    for (int64_t a : where) {
      if (a > static_cast<int64_t>(sizes.size())) corrupt("has an axis out of range");
      sizes.insert(sizes.begin() + a, 1);
    }
    if (sizes.empty()) return alias();
    add_reshape(std::move(sizes));
  }
  void transpose() {
    Ints order;
    for (size_t k = dims(0).size(); k-- > 0;) order.push_back(static_cast<int64_t>(k));
    if (const AttributeMessage* a = find("perm")) order = a->integers;
    const Dims x = dims(0);
    if (!is_constant(0) && (order.empty() || order[0] != 0)) unsupported("moves the batch");
    if (!is_permutation(order, x.size())) corrupt("its order does not name each axis once");
    Ints moved;  // axes in which there is more than one place to be
    Dims made;
    for (int64_t a : order) {
      made.push_back(x[a]);
      if (x[a] != 1 || a == 0) moved.push_back(a);
    }
    if (std::is_sorted(moved.begin(), moved.end())) return add_reshape(std::move(made));
    add(Transpose{order}, {in(0)});
  }

 private:
  std::map<int, int> made_of_;  // reshaped values -> what they were made of
};

}  // namespace fewshift::graph::onnx
