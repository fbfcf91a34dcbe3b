// What a file's nodes read and write: values of the graph, constants, and numbers that are computed at once;
// for reading a node, and for making those of the graph. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "graph/interpreter.h"
#include "graph/limits.h"
#include "graph/onnx/fields.h"
#include "graph/onnx/messages.h"
#include "graph/onnx/numbers.h"

namespace fewshift::graph::onnx {

using Ints = std::vector<int64_t>;

inline constexpr int64_t kMostElements = int64_t{1} << 31;
inline constexpr int64_t kMostFolded = int64_t{1} << 26;  // elements of constants computed while reading
inline constexpr size_t kMostNumbers = 4096;              // of a constant that may be a size

class NodeReader {
 protected:
  NodeReader(AlignedBytes bytes, const std::string& where, const Limits& limits)
      : bytes_(std::make_shared<AlignedBytes>(std::move(bytes))), where_(where), limits_(limits) {}

  [[noreturn]] void corrupt(const std::string& what, const std::string& message) const {
    throw Error(ErrorCode::kCorrupt, what.empty() ? where_ : where_ + ": " + what, message);
  }
  [[noreturn]] void unsupported(const std::string& what, const std::string& message) const {
    throw Error(ErrorCode::kUnsupported, what.empty() ? where_ : where_ + ": " + what, message);
  }
  std::string this_node() const { return "node " + node_->name + " (" + node_->type + ")"; }
  [[noreturn]] void corrupt(const std::string& message) const { corrupt(this_node(), message); }
  [[noreturn]] void unsupported(const std::string& message) const { unsupported(this_node(), message); }

  // Many floats of the file, moved back over their field's head to where floats may begin; null if they are
  // few.
  std::shared_ptr<const float> shared(const data_view& raw) const {
    if (raw.size() < 128) return nullptr;  // head: a tag, two bytes of length
    const auto begin = reinterpret_cast<uintptr_t>(bytes_->data()),
               at = reinterpret_cast<uintptr_t>(raw.data());
    char* to = bytes_->data() + (at - begin) / alignof(float) * alignof(float);
    if (to != raw.data()) std::memmove(to, raw.data(), raw.size());
    return {bytes_, reinterpret_cast<const float*>(to)};
  }

  // Under its own name or another: floats as a value of the graph, whole numbers in numbers_.
  void read_constant(const data_view& bytes, const std::string& rename) {
    TensorMessage t = read_tensor(bytes);
    const std::string& name = rename.empty() ? t.name : rename;
    const std::string what = "tensor " + name;
    if (t.external)
      unsupported(
          what,
          "keeps its data in another file: export with external_data=False, or save the model as one file");
    int64_t total = 1;
    for (int64_t dim : t.dims) {
      if (dim < 0 || dim > kMostElements || (total *= dim) > kMostElements)
        corrupt(what, "is of size " + text(t.dims));
    }
    auto take = [&]<class Number>(std::vector<Number>& values) {
      if (t.raw) {
        if (t.raw->size() != static_cast<size_t>(total) * sizeof(Number))
          corrupt(what, "has " + std::to_string(t.raw->size()) + " bytes for " + text(t.dims));
        values.resize(total);
        if (total > 0) std::memcpy(values.data(), t.raw->data(), t.raw->size());
      } else if (static_cast<int64_t>(values.size()) != total) {
        corrupt(what, "has " + std::to_string(values.size()) + " values for " + text(t.dims));
      }
    };
    if (t.type == tensor::kTypeFloat) {
      std::shared_ptr<const float> in_file;
      if (t.raw && t.raw->size() == static_cast<size_t>(total) * sizeof(float)) in_file = shared(*t.raw);
      if (!in_file) take(t.floats);
      add_constant(name, Tensor{t.dims, in_file ? Floats(in_file, total) : Floats(std::move(t.floats))});
    } else if (t.type == tensor::kTypeDouble) {
      take(t.doubles);
      add_constant(name, Tensor{t.dims, std::vector<float>(t.doubles.begin(), t.doubles.end())});
    } else if (t.type == tensor::kTypeInt64 || t.type == tensor::kTypeInt32) {
      if (t.type == tensor::kTypeInt64 || !t.raw) {
        take(t.integers);
      } else {
        std::vector<int32_t> narrow;
        take(narrow);
        t.integers.assign(narrow.begin(), narrow.end());
      }
      if (t.integers.size() > kMostNumbers)
        unsupported(what, "is of too many whole numbers, " + text(t.dims));
      keep(name, Numbers{t.dims, {t.integers.begin(), t.integers.end()}, true});
    } else {
      unsupported(what, "is of element type " + std::to_string(t.type) +
                            "; float32, float64, int32 and int64 are read");
    }
  }

  bool is_known(const std::string& name) const { return known_.contains(name) || numbers_.contains(name); }
  void fresh(const std::string& name) const {
    if (is_known(name)) corrupt("value " + name, "is written twice");
  }
  int define(const std::string& name, int v) {
    fresh(name);
    return known_[name] = v;
  }
  void keep(const std::string& name, Numbers numbers) {
    fresh(name);
    numbers_[name] = std::move(numbers);
  }
  int constant_value(const std::string& name, Tensor tensor) {
    dims_.push_back(tensor.dims);
    return g_.add_value(name, std::move(tensor));
  }
  void add_constant(const std::string& name, Tensor tensor) {
    define(name, constant_value(name, std::move(tensor)));
  }

  // Of the node at hand.
  bool has(size_t k) const { return k < node_->inputs.size() && !node_->inputs[k].empty(); }
  const std::string& input(size_t k) const {
    if (!has(k)) corrupt("has no input " + std::to_string(k));
    return node_->inputs[k];
  }
  int in(size_t k) {
    const std::string& name = input(k);
    if (const auto found = known_.find(name); found != known_.end()) return found->second;
    const auto found = numbers_.find(name);
    if (found == numbers_.end()) corrupt("reads " + name + ", which is not there yet");
    const Numbers& n = found->second;
    if (n.whole) unsupported("computes on whole numbers");
    for (double value : n.values) {
      if (std::isnan(value)) unsupported("its input " + std::to_string(k) + " depends on the batch");
    }
    return known_[name] =
               constant_value(name, Tensor{n.dims, std::vector<float>(n.values.begin(), n.values.end())});
  }
  const Dims& dims(size_t k) { return dims_[in(k)]; }
  const Dims& image(size_t k) {
    if (dims(k).size() != 4) unsupported("its input is " + text(dims(k)) + ": only images, NCHW, are read");
    return dims(k);
  }
  bool is_constant(size_t k) { return g_.values[in(k)].constant.has_value(); }
  const Tensor& constant(size_t k) {
    const auto& found = g_.values[in(k)].constant;
    if (!found) unsupported("its input " + std::to_string(k) + " must be a constant");
    return *found;
  }
  // Of a constant of one number.
  std::optional<float> number_in(size_t k) {
    if (!is_constant(k) || constant(k).values.size() != 1) return {};
    return constant(k).values[0];
  }
  const Numbers& numbers(size_t k) const {
    const auto found = numbers_.find(input(k));
    if (found == numbers_.end())
      unsupported("its input " + std::to_string(k) + " must be constant whole numbers");
    return found->second;
  }
  Ints ints(size_t k) const {
    try {
      return integers(numbers(k));
    } catch (const std::invalid_argument& error) {
      unsupported("its input " + std::to_string(k) + " " + error.what());
    }
  }
  const AttributeMessage* find(const char* name) const {
    const auto found = node_->attributes.find(name);
    return found == node_->attributes.end() ? nullptr : &found->second;
  }
  int64_t integer(const char* name, int64_t usual) const {
    const AttributeMessage* a = find(name);
    return a ? a->integer : usual;
  }
  float number(const char* name, float usual) const {
    const AttributeMessage* a = find(name);
    return a ? a->number : usual;
  }
  Pair pair(const char* name, Pair usual) const {
    const AttributeMessage* a = find(name);
    if (!a) return usual;
    if (a->integers.size() != 2)
      unsupported(std::string(name) + " must be two numbers: only images are read");
    return {a->integers[0], a->integers[1]};
  }
  void must_be(const char* name, int64_t value, int64_t usual) const {
    if (integer(name, usual) != value) unsupported(std::string(name) + " must be " + std::to_string(value));
  }
  int64_t axis(int64_t axis, size_t rank) const {
    if (axis < 0) axis += static_cast<int64_t>(rank);
    if (axis < 0 || axis >= static_cast<int64_t>(rank)) corrupt("has an axis out of range");
    return axis;
  }
  // An input since the opset, before it an attribute.
  std::optional<Ints> axes(int64_t since) const {
    if (opset_ >= since) return has(1) ? std::optional(ints(1)) : std::nullopt;
    const AttributeMessage* a = find("axes");
    return a ? std::optional(a->integers) : std::nullopt;
  }
  const std::string& out(size_t k = 0) const {
    if (k >= node_->outputs.size() || node_->outputs[k].empty())
      corrupt("has no output " + std::to_string(k));
    return node_->outputs[k];
  }

  // A node of the graph under the name of this one and `suffix`.
  int emit(const std::string& suffix, Operator op, std::vector<int> inputs) {
    Node node{node_->name + suffix, std::move(op), std::move(inputs), 0};
    std::vector<Dims> given;
    for (int v : node.inputs) given.push_back(dims_[v]);
    Dims result;
    try {
      result = infer_shape(node, given);
    } catch (const Error& error) {
      throw Error(error.code(), where_, error.what());
    }
    const bool known = std::all_of(node.inputs.begin(), node.inputs.end(),
                                   [&](int v) { return g_.values[v].constant.has_value(); });
    if (known) return fold(node, given, result);
    dims_.push_back(result);
    return g_.add(node.name, std::move(node.op), std::move(node.inputs));
  }
  // What a node makes of constants.
  int fold(const Node& node, const std::vector<Dims>& given, const Dims& result) {
    int64_t each = 1;  // of an element of the result
    if (std::holds_alternative<Conv>(node.op) || std::holds_alternative<Linear>(node.op))
      each = elements(given[1]) / std::max<int64_t>(1, given[1][0]);
    folded_ += elements(result);
    for (const Dims& d : given) folded_ += elements(d);
    if (folded_ > kMostFolded || each > kMostFolded || elements(result) * each > kMostFolded - folded_)
      unsupported("computes on too large constants");
    folded_ += elements(result) * each;
    Graph small;
    small.input = small.add_value("");
    std::vector<int> inputs = {small.input};
    for (size_t k = 1; k < node.inputs.size(); ++k)
      inputs.push_back(small.add_value("", g_.values[node.inputs[k]].constant));
    small.output = small.add(node.name, node.op, inputs);
    return constant_value(node.name, interpret(small, *g_.values[node.inputs[0]].constant));
  }
  void add(Operator op, std::vector<int> inputs) {
    const int v = emit("", std::move(op), std::move(inputs));
    g_.values[v].name = out();
    define(out(), v);
  }
  void add(Operator op) {
    std::vector<int> inputs;
    for (size_t k = 0; k < node_->inputs.size(); ++k) {
      if (has(k)) inputs.push_back(in(k));
    }
    add(std::move(op), std::move(inputs));
  }
  int scalar(const std::string& suffix, float value) {
    return constant_value(node_->name + suffix, Tensor{{}, {value}});
  }

  void alias() { define(out(), in(0)); }

  const std::shared_ptr<AlignedBytes> bytes_;
  const std::string where_;
  const Limits limits_;
  int64_t opset_ = 0, folded_ = 0;
  Graph g_;
  std::vector<Dims> dims_;            // of the graph's values, with the file's batch, or 1
  std::map<std::string, int> known_;  // float values, constants among them
  std::map<std::string, Numbers> numbers_;
  const NodeMessage* node_ = nullptr;
};

}  // namespace fewshift::graph::onnx
