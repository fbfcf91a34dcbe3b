// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/file.h"
#include "graph/interpreter.h"
#include "graph/onnx/fields.h"
#include "graph/onnx/messages.h"
#include "graph/onnx/numbers.h"
#include "graph/onnx/onnx.h"

namespace fewshift::graph {
namespace {

using Ints = std::vector<int64_t>;
using onnx::AttributeMessage;
using onnx::NodeMessage;
using onnx::Numbers;

constexpr int64_t kOldestOpset = 11, kNewestOpset = 21;
constexpr int64_t kMostElements = int64_t{1} << 31;
constexpr int64_t kMostFolded = int64_t{1} << 26;  // elements of constants computed while reading
constexpr size_t kMostNumbers = 4096;              // of a constant that may be a size

class Reader {
 public:
  Reader(AlignedBytes bytes, const std::string& where, const Limits& limits)
      : bytes_(std::make_shared<AlignedBytes>(std::move(bytes))), where_(where), limits_(limits) {}

  Graph run() {
    onnx::ModelMessage model = onnx::read_model({bytes_->data(), bytes_->size()});
    if (!model.graph || model.graph->size() == 0) corrupt("", "is no ONNX model: it has no graph");
    opset_ = model.opset;
    if (opset_ < kOldestOpset || opset_ > kNewestOpset)
      unsupported("", "is of opset " + std::to_string(opset_) + "; 11 to 21 are read");
    g_.metadata = std::move(model.metadata);
    read(onnx::read_graph(*model.graph));
    return std::move(g_);
  }

 private:
  [[noreturn]] void corrupt(const std::string& what, const std::string& message) const {
    throw Error(ErrorCode::kCorrupt, what.empty() ? where_ : where_ + ": " + what, message);
  }
  [[noreturn]] void unsupported(const std::string& what, const std::string& message) const {
    throw Error(ErrorCode::kUnsupported, what.empty() ? where_ : where_ + ": " + what, message);
  }
  std::string this_node() const { return "node " + node_->name + " (" + node_->type + ")"; }
  [[noreturn]] void corrupt(const std::string& message) const { corrupt(this_node(), message); }
  [[noreturn]] void unsupported(const std::string& message) const { unsupported(this_node(), message); }

  void read(onnx::GraphMessage graph) {
    g_.name = graph.name;
    if (graph.sparse) unsupported("the graph", "has sparse initialisers");
    if (static_cast<int64_t>(graph.nodes.size()) > limits_.nodes)
      unsupported("the graph", "has " + std::to_string(graph.nodes.size()) + " nodes; " +
                                   std::to_string(limits_.nodes) + " are read at most");
    for (const onnx::data_view& initializer : graph.initializers) read_constant(initializer, "");
    std::erase_if(graph.inputs, [&](const onnx::ValueMessage& input) { return is_known(input.name); });
    if (graph.inputs.size() != 1 || graph.outputs.size() != 1) {
      unsupported("the graph", "has " + std::to_string(graph.inputs.size()) + " inputs and " +
                                   std::to_string(graph.outputs.size()) + " outputs; one of each is read");
    }
    read_input(graph.inputs[0]);
    for (const NodeMessage& node : graph.nodes) {
      node_ = &node;
      translate();
    }
    const auto found = known_.find(graph.outputs[0].name);
    if (found == known_.end()) corrupt("the graph", "nothing computes its output " + graph.outputs[0].name);
    g_.output = found->second;
    check_sizes();
  }

  void read_input(const onnx::ValueMessage& input) {
    if (input.element != onnx::tensor::kTypeFloat)
      unsupported("input " + input.name,
                  "is of element type " + std::to_string(input.element) + ", not float32");
    if (input.dims.empty()) unsupported("input " + input.name, "has no batch");
    g_.input_dims = input.dims;
    Dims dims = input.dims;
    dims[0] = batch_ = std::max<int64_t>(1, dims[0]);
    if (!std::all_of(dims.begin(), dims.end(), [](int64_t dim) { return dim > 0 && dim <= kMostElements; }))
      unsupported(
          "input " + input.name,
          "has channels or a size that the file leaves open; only the batch may be: export it for one size");
    g_.input = g_.add_value(input.name);
    dims_.push_back(dims);
    define(input.name, g_.input);
  }

  // That the pictures of a batch are apart in each value, and what it takes to compute one.
  void check_sizes() const {
    Dims two = g_.input_dims;
    two[0] = 2;
    std::vector<Dims> dims;
    try {
      dims = infer_shapes(g_, two);
    } catch (const Error& error) {
      throw Error(error.code(), where_, error.what());
    }
    int64_t weights = 0, madds = 0;
    for (const Node& node : g_.nodes) {
      const Dims& y = dims[node.output];
      if (y.empty() || y[0] != 2)
        unsupported("node " + node.name + " (" + kind(node.op) + ")",
                    "computes across the pictures of a batch");
      for (int v : node.inputs) {
        if (g_.values[v].constant) weights += elements(dims[v]) * static_cast<int64_t>(sizeof(float));
      }
      int64_t each = 1;  // of an element of the output
      if (std::holds_alternative<Conv>(node.op) || std::holds_alternative<Linear>(node.op))
        each = elements(dims[node.inputs[1]]) / dims[node.inputs[1]][0];
      if (const auto* pool = std::get_if<Pool>(&node.op)) each = pool->kernel[0] * pool->kernel[1];
      madds += elements(y) / 2 * each;
      if (weights > limits_.weight_bytes)
        unsupported("node " + node.name, "its weights and those before it take more than " +
                                             std::to_string(limits_.weight_bytes) + " bytes");
      if (madds > limits_.madds)
        unsupported("node " + node.name, "it and those before it take more than " +
                                             std::to_string(limits_.madds) + " multiply-adds");
    }
  }

  // Many floats of the file, moved back over their field's head to where floats may begin; null if they are
  // few.
  std::shared_ptr<const float> shared(const onnx::data_view& raw) const {
    if (raw.size() < 128) return nullptr;  // head: a tag, two bytes of length
    const auto begin = reinterpret_cast<uintptr_t>(bytes_->data()),
               at = reinterpret_cast<uintptr_t>(raw.data());
    char* to = bytes_->data() + (at - begin) / alignof(float) * alignof(float);
    if (to != raw.data()) std::memmove(to, raw.data(), raw.size());
    return {bytes_, reinterpret_cast<const float*>(to)};
  }

  // Under its own name or another: floats as a value of the graph, whole numbers in numbers_.
  void read_constant(const onnx::data_view& bytes, const std::string& rename) {
    onnx::TensorMessage t = onnx::read_tensor(bytes);
    const std::string& name = rename.empty() ? t.name : rename;
    const std::string what = "tensor " + name;
    if (t.external) unsupported(what, "keeps its data in another file: save the model as one file");
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
    if (t.type == onnx::tensor::kTypeFloat) {
      std::shared_ptr<const float> in_file;
      if (t.raw && t.raw->size() == static_cast<size_t>(total) * sizeof(float)) in_file = shared(*t.raw);
      if (!in_file) take(t.floats);
      add_constant(name, Tensor{t.dims, in_file ? Floats(in_file, total) : Floats(std::move(t.floats))});
    } else if (t.type == onnx::tensor::kTypeDouble) {
      take(t.doubles);
      add_constant(name, Tensor{t.dims, std::vector<float>(t.doubles.begin(), t.doubles.end())});
    } else if (t.type == onnx::tensor::kTypeInt64 || t.type == onnx::tensor::kTypeInt32) {
      if (t.type == onnx::tensor::kTypeInt64 || !t.raw) {
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
    return constant_value(name, Tensor{n.dims, std::vector<float>(n.values.begin(), n.values.end())});
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
      return onnx::integers(numbers(k));
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
    if (std::holds_alternative<Conv>(node.op) || std::holds_alternative<Linear>(node.op))
      unsupported("computes on constants alone");
    folded_ += elements(result);
    for (const Dims& d : given) folded_ += elements(d);
    if (folded_ > kMostFolded) unsupported("computes on too large constants");
    Graph small;
    std::vector<int> inputs;
    for (int v : node.inputs) inputs.push_back(small.add_value("", g_.values[v].constant));
    const Tensor first = *g_.values[node.inputs[0]].constant;
    small.input = small.add_value("");
    inputs[0] = small.input;
    small.output = small.add(node.name, node.op, inputs);
    return constant_value(node.name, interpret(small, first));
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

  void translate() {
    if (!node_->domain.empty() && node_->domain != "ai.onnx")
      unsupported("is of the domain " + node_->domain);
    if (translate_numbers()) return;
    struct Entry {
      const char* type;
      void (Reader::*read)();
    };
    static constexpr Entry kTable[] = {
        {"Conv", &Reader::conv},
        {"BatchNormalization", &Reader::batch_norm},
        {"Relu", &Reader::unary<Function::kRelu>},
        {"Sigmoid", &Reader::unary<Function::kSigmoid>},
        {"Erf", &Reader::unary<Function::kErf>},
        {"HardSwish", &Reader::unary<Function::kHardSwish>},
        {"Clip", &Reader::clip},
        {"Min", &Reader::bound<false>},
        {"Max", &Reader::bound<true>},
        {"HardSigmoid", &Reader::hard_sigmoid},
        {"Softmax", &Reader::softmax},
        {"Add", &Reader::plain<Add>},
        {"Sum", &Reader::sum},
        {"Sub", &Reader::sub},
        {"Neg", &Reader::neg},
        {"Mul", &Reader::plain<Mul>},
        {"Div", &Reader::div},
        {"MaxPool", &Reader::pool<true>},
        {"AveragePool", &Reader::pool<false>},
        {"GlobalAveragePool", &Reader::plain<GlobalAverage>},
        {"GlobalMaxPool", &Reader::global_max},
        {"ReduceMean", &Reader::reduce_mean},
        {"Gemm", &Reader::gemm},
        {"MatMul", &Reader::matmul},
        {"Concat", &Reader::concat},
        {"Split", &Reader::split},
        {"Slice", &Reader::slice},
        {"Pad", &Reader::pad},
        {"Flatten", &Reader::flatten},
        {"Reshape", &Reader::reshape},
        {"Squeeze", &Reader::squeeze},
        {"Unsqueeze", &Reader::unsqueeze},
        {"Transpose", &Reader::transpose},
        {"Constant", &Reader::constant_node},
        {"Identity", &Reader::alias},
        {"Dropout", &Reader::alias},
        {"Cast", &Reader::cast},
    };
    for (const Entry& entry : kTable) {
      if (node_->type == entry.type) return (this->*entry.read)();
    }
    unsupported("is an operator that is not read here");
  }

  // A computation on sizes, which are all known: done at once.
  bool translate_numbers() {
    if (node_->type == "Shape") return shape(), true;
    bool some = node_->type == "ConstantOfShape";
    std::vector<Numbers> constants(node_->inputs.size());
    std::vector<const Numbers*> inputs(node_->inputs.size(), nullptr);
    for (size_t k = 0; k < inputs.size(); ++k) {
      if (!has(k)) continue;
      if (const auto found = numbers_.find(input(k)); found != numbers_.end()) {
        inputs[k] = &found->second;
        some = true;
        continue;
      }
      const auto value = known_.find(input(k));
      if (value == known_.end() || !g_.values[value->second].constant) return false;
      const Tensor& t = *g_.values[value->second].constant;
      if (t.values.size() > kMostNumbers) return false;
      constants[k] = {t.dims, {t.values.begin(), t.values.end()}, false};
      inputs[k] = &constants[k];
    }
    // Floats by whole numbers, as a slice of a constant, are none.
    if (!some ||
        (inputs.size() > 1 && inputs[0] == &constants[0] && node_->type != "Add" && node_->type != "Sub" &&
         node_->type != "Mul" && node_->type != "Div" && node_->type != "Max" && node_->type != "Min"))
      return false;
    try {
      keep(out(), onnx::compute(*node_, inputs, opset_));
    } catch (const onnx::NotComputed& error) {
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

  template <Function function>
  void unary() {
    add(Unary{function}, {in(0)});
  }
  template <class Op>
  void plain() {
    add(Op{});
  }
  void sum() {
    int total = in(0);
    if (node_->inputs.size() == 1) return alias();
    for (size_t k = 1; k + 1 < node_->inputs.size(); ++k)
      total = emit("." + std::to_string(k), Add{}, {total, in(k)});
    add(Add{}, {total, in(node_->inputs.size() - 1)});
  }
  int negative(size_t k) { return emit(".negative", Mul{}, {in(k), scalar(".minus_one", -1)}); }
  void sub() { add(Add{}, {in(0), negative(1)}); }
  void neg() { add(Mul{}, {in(0), scalar(".minus_one", -1)}); }
  void div() {  // by a constant
    Tensor inverse = constant(1);
    for (float& value : inverse.values) value = 1 / value;
    add(Mul{}, {in(0), constant_value(node_->name + ".inverse", std::move(inverse))});
  }
  void cast() {
    if (integer("to", 0) != onnx::tensor::kTypeFloat) unsupported("casts to another type than float32");
    alias();
  }
  void conv() {
    const Dims w = constant(1).dims, x = image(0);
    if (w.size() != 4) unsupported("its weight is of " + text(w) + ": only images are read");
    Conv op;
    op.kernel = pair("kernel_shape", {w[2], w[3]});
    op.stride = pair("strides", {1, 1});
    op.dilation = pair("dilations", {1, 1});
    op.groups = integer("group", 1);
    pads(x, op.kernel, op.stride, op.dilation, op.pad_begin, op.pad_end);
    if (has(2)) constant(2);
    add(op);
  }
  void pads(const Dims& x, Pair kernel, Pair stride, Pair dilation, Pair& begin, Pair& end) const {
    const AttributeMessage* automatic = find("auto_pad");
    const std::string mode = automatic && !automatic->text.empty() ? automatic->text : "NOTSET";
    if (mode == "SAME_UPPER" || mode == "SAME_LOWER") {
      for (int a = 0; a < 2; ++a) {
        const auto [least, most] = std::minmax({stride[a], kernel[a], dilation[a]});
        if (least < 1 || most > (1 << 20)) corrupt("has a kernel, stride or dilation out of range");
        const int64_t size = x[2 + a], outputs = (size + stride[a] - 1) / stride[a];
        const int64_t all =
            std::max<int64_t>(0, (outputs - 1) * stride[a] + dilation[a] * (kernel[a] - 1) + 1 - size);
        begin[a] = mode == "SAME_UPPER" ? all / 2 : all - all / 2;
        end[a] = all - begin[a];
      }
      return;
    }
    if (mode != "NOTSET" && mode != "VALID") unsupported("auto_pad = " + mode + " is not read");
    const AttributeMessage* a = find("pads");
    if (!a || mode == "VALID") return;
    if (a->integers.size() != 4) unsupported("pads must be four numbers: only images are read");
    begin = {a->integers[0], a->integers[1]};
    end = {a->integers[2], a->integers[3]};
  }
  void batch_norm() {
    must_be("training_mode", 0, 0);
    for (size_t k = 1; k < 5; ++k) constant(k);
    add(BatchNorm{number("epsilon", 1e-5f)}, {in(0), in(1), in(2), in(3), in(4)});
  }
  void clip() {
    auto limit = [&](size_t k, float usual) {
      if (!has(k)) return usual;
      const auto value = number_in(k);
      if (!value) unsupported("is read with bounds that are single numbers alone");
      return *value;
    };
    add(Unary{Function::kClip, limit(1, -INFINITY), limit(2, INFINITY)}, {in(0)});
  }
  template <bool lower>
  void bound() {  // by a constant
    for (size_t k = 0; k < 2 && node_->inputs.size() == 2; ++k) {
      if (const auto value = number_in(1 - k))
        return add(Unary{Function::kClip, lower ? *value : -INFINITY, lower ? INFINITY : *value}, {in(k)});
    }
    unsupported("is read with a number beside a map alone");
  }
  void hard_sigmoid() {
    const float slope = number("alpha", 0.2f), at_zero = number("beta", 0.5f);
    if (std::abs(slope - 1.0f / 6) < 1e-6f && at_zero == 0.5f)
      return add(Unary{Function::kHardSigmoid}, {in(0)});
    const int scaled = emit(".scaled", Mul{}, {in(0), scalar(".alpha", slope)});
    add(Unary{Function::kClip, 0, 1}, {emit(".moved", Add{}, {scaled, scalar(".beta", at_zero)})});
  }
  void softmax() {
    const Dims& x = dims(0);
    const int64_t along = axis(integer("axis", opset_ < 13 ? 1 : -1), x.size());
    const bool one_pixel = x.size() == 2 || (x.size() == 4 && x[2] * x[3] == 1);
    if (along != 1 || (opset_ < 13 && !one_pixel)) unsupported("is read over the channels alone");
    add(Unary{Function::kSoftmax}, {in(0)});
  }
  template <bool max>
  void pool() {
    if (pair("dilations", {1, 1}) != Pair{1, 1}) unsupported("is dilated");
    const Dims x = image(0);
    Pool op;
    op.max = max;
    op.kernel = pair("kernel_shape", {1, 1});
    op.stride = pair("strides", {1, 1});
    pads(x, op.kernel, op.stride, {1, 1}, op.pad_begin, op.pad_end);
    const bool counts =
        !max && integer("count_include_pad", 0) != 0 && (op.pad_begin != Pair{} || op.pad_end != Pair{});
    bool partial = false;
    if (integer("ceil_mode", 0) != 0) {
      for (int a = 0; a < 2; ++a) partial |= round_up(op, a, x[2 + a]);
    }
    if (!counts) return add(op, {in(0)});
    if (partial) unsupported("counts padding in windows that reach beyond it");
    Conv mean{op.kernel, op.stride, {1, 1}, op.pad_begin, op.pad_end, x[1]};
    const int64_t window = checked_window(op.kernel);
    Tensor weight{{x[1], 1, op.kernel[0], op.kernel[1]},
                  Floats(static_cast<size_t>(x[1] * window), 1.0f / static_cast<float>(window))};
    add(mean, {in(0), constant_value(node_->name + ".weight", std::move(weight))});
  }
  int64_t checked_window(Pair kernel) const {
    if (kernel[0] < 1 || kernel[1] < 1 || kernel[0] > 1024 || kernel[1] > 1024)
      corrupt("has a kernel out of range");
    return kernel[0] * kernel[1];
  }
  // One window more along the axis, if it begins inside, where the last pixels would be left out: its padding
  // grows.
  bool round_up(Pool& op, int a, int64_t size) const {
    checked_window(op.kernel);
    if (op.stride[a] < 1 || op.stride[a] > 1024 || op.pad_begin[a] < 0 || op.pad_end[a] < 0 ||
        op.pad_begin[a] > 1024 || op.pad_end[a] > 1024)
      corrupt("has a stride or padding out of range");
    const int64_t left = size + op.pad_begin[a] + op.pad_end[a] - op.kernel[a];
    if (left < 0 || left % op.stride[a] == 0) return false;
    const int64_t begin = (left / op.stride[a] + 1) * op.stride[a];
    if (begin >= size + op.pad_begin[a]) return false;
    op.pad_end[a] += begin - left;
    return true;
  }
  void global_max() {
    const Dims& x = image(0);
    add(Pool{true, {x[2], x[3]}}, {in(0)});
  }
  void reduce_mean() {
    const Dims x = dims(0);
    Ints over = axes(18).value_or(Ints());
    for (int64_t& a : over) a = axis(a, x.size());
    std::sort(over.begin(), over.end());
    if (!(x.size() == 4 && over == Ints{2, 3}) && !(x.size() == 3 && over == Ints{2}))
      unsupported("is read over all pixels of a map alone");
    if (integer("keepdims", 1) != 0) return add(GlobalAverage{}, {in(0)});
    add(Reshape{{0, x[1]}}, {emit(".mean", GlobalAverage{}, {in(0)})});
  }

  // A weight [in,out] turned, and times a number.
  int turned(const Tensor& given, bool turn, float factor) {
    if (given.dims.size() != 2) unsupported("its weight is of " + text(given.dims));
    const int64_t rows = given.dims[0], columns = given.dims[1];
    Tensor result{turn ? Dims{columns, rows} : given.dims, Floats(given.values.size(), 0.0f)};
    float* to = result.values.begin();
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < columns; ++j)
        to[turn ? j * rows + i : i * columns + j] = factor * given.values[i * columns + j];
    }
    return constant_value(node_->name + ".weight", std::move(result));
  }
  void gemm() {
    must_be("transA", 0, 0);
    const float alpha = number("alpha", 1), beta = number("beta", 1);
    const bool turn = integer("transB", 0) == 0;
    const Tensor& given = constant(1);
    const int weight = turn || alpha != 1 ? turned(given, turn, alpha) : in(1);
    std::vector<int> inputs = {in(0), weight};
    if (has(2)) {
      if (dims_[weight].size() != 2) unsupported("its weight is of " + text(dims_[weight]));
      const int64_t outputs = dims_[weight][0];
      Tensor bias = constant(2);
      if (bias.values.size() == 1) bias.values = Floats(outputs, bias.values[0]);
      if (static_cast<int64_t>(bias.values.size()) != outputs || bias.dims.size() > 2 ||
          (bias.dims.size() == 2 && bias.dims[0] != 1))
        unsupported("adds " + text(bias.dims) + " to " + std::to_string(outputs) + " outputs");
      const bool same = bias.dims == Dims{outputs} && beta == 1;
      bias.dims = {outputs};
      if (beta != 1) {
        for (float& value : bias.values) value *= beta;
      }
      inputs.push_back(same ? in(2) : constant_value(node_->name + ".bias", std::move(bias)));
    }
    add(Linear{}, inputs);
  }
  void matmul() {
    if (dims(0).size() != 2) unsupported("is read for [N,C] alone, not " + text(dims(0)));
    add(Linear{}, {in(0), turned(constant(1), true, 1)});
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

  // To these sizes, of which the first, but for constants, is the batch.
  void add_reshape(Dims sizes) {
    if (!is_constant(0)) sizes[0] = 0;
    add(Reshape{std::move(sizes)}, {in(0)});
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
      sizes = onnx::integers(rest);
    } catch (const std::invalid_argument& error) {
      unsupported(std::string("its shape ") + error.what());
    }
    const bool copies = integer("allowzero", 0) == 0;
    int64_t product = 1, open = -1;
    for (size_t k = 0; k < sizes.size(); ++k) {
      if (k == 0 && std::isnan(first)) sizes[0] = x[0];
      if (sizes[k] == 0 && copies && k < x.size()) sizes[k] = x[k];
      if (sizes[k] == -1 && open < 0) {
        open = static_cast<int64_t>(k);
      } else if (sizes[k] < 1 || sizes[k] > kMostElements || (product *= sizes[k]) > kMostElements) {
        corrupt("cannot make " + text(sizes) + " of " + text(x));
      }
    }
    if (open >= 0) sizes[open] = elements(x) / product;
    if (!is_constant(0) && sizes[0] != x[0])
      unsupported("makes " + text(sizes) + " of " + text(x) + ": it changes the batch");
    if (elements(sizes) != elements(x)) corrupt("cannot make " + text(sizes) + " of " + text(x));
    add_reshape(std::move(sizes));
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
    if (!is_constant(0) && (order.empty() || order[0] != 0)) unsupported("moves the batch");
    add(Transpose{order}, {in(0)});
  }
  void constant_node() {
    const AttributeMessage* a = nullptr;
    if ((a = find("value")) && a->tensor) return read_constant(*a->tensor, out());
    if ((a = find("value_float"))) return add_constant(out(), Tensor{{}, {a->number}});
    if ((a = find("value_floats")))
      return add_constant(out(), Tensor{{static_cast<int64_t>(a->numbers.size())}, a->numbers});
    if ((a = find("value_int"))) return keep(out(), Numbers{{}, {static_cast<double>(a->integer)}, true});
    if ((a = find("value_ints"))) {
      if (a->integers.size() > kMostNumbers) unsupported("is of too many whole numbers");
      return keep(out(), Numbers{{static_cast<int64_t>(a->integers.size())},
                                 {a->integers.begin(), a->integers.end()},
                                 true});
    }
    unsupported("is read with numbers alone");
  }
  void alias() { define(out(), in(0)); }

  const std::shared_ptr<AlignedBytes> bytes_;
  const std::string where_;
  const Limits limits_;
  int64_t opset_ = 0, batch_ = 1, folded_ = 0;
  Graph g_;
  std::vector<Dims> dims_;            // of the graph's values, with this batch
  std::map<std::string, int> known_;  // float values, constants among them
  std::map<std::string, Numbers> numbers_;
  const NodeMessage* node_ = nullptr;
};

}  // namespace

Graph parse_onnx(AlignedBytes bytes, const std::string& where, const Limits& limits) {
  try {
    return Reader(std::move(bytes), where, limits).run();
  } catch (const onnx::WrongType& error) {
    throw Error(ErrorCode::kCorrupt, where, "is no ONNX model (" + std::string(error.what()) + ")");
  } catch (const protozero::exception& error) {
    throw Error(ErrorCode::kCorrupt, where,
                "is no ONNX model, or cut off (" + std::string(error.what()) + ")");
  }
}

Graph parse_onnx(std::string_view bytes, const std::string& where, const Limits& limits) {
  return parse_onnx(AlignedBytes(bytes.begin(), bytes.end()), where, limits);
}

Graph read_onnx(const std::filesystem::path& path, const Limits& limits) {
  return parse_onnx(read_bytes(path, limits.file_bytes), path.string(), limits);
}

}  // namespace fewshift::graph
