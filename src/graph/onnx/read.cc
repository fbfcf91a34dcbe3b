// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/file.h"
#include "graph/onnx/fields.h"
#include "graph/onnx/onnx.h"
#include "graph/onnx/protozero.h"

namespace fewshift::graph {
namespace {

using protozero::pbf_reader;
using Ints = std::vector<int64_t>;

constexpr int64_t kOldestOpset = 11, kNewestOpset = 21;
constexpr int64_t kMostElements = int64_t{1} << 31;

struct Attribute {
  float number = 0;
  int64_t integer = 0;
  std::string text;
  std::vector<float> numbers;
  Ints integers;
  bool has_tensor = false;
  std::string tensor;  // its bytes
};

struct OnnxNode {
  std::string type, name, domain;
  std::vector<std::string> inputs, outputs;
  std::map<std::string, Attribute> attributes;
};

Attribute read_attribute(pbf_reader in, std::string& name) {
  Attribute a;
  while (in.next()) {
    switch (in.tag()) {
      case onnx::attribute::kName:
        name = in.get_string();
        break;
      case onnx::attribute::kFloat:
        a.number = in.get_float();
        break;
      case onnx::attribute::kInt:
        a.integer = in.get_int64();
        break;
      case onnx::attribute::kString:
        a.text = in.get_string();
        break;
      case onnx::attribute::kTensor:
        a.has_tensor = true;
        a.tensor = in.get_string();
        break;
      case onnx::attribute::kFloats:
        if (in.wire_type() == protozero::pbf_wire_type::length_delimited) {
          for (float f : in.get_packed_float()) a.numbers.push_back(f);
        } else {
          a.numbers.push_back(in.get_float());
        }
        break;
      case onnx::attribute::kInts:
        if (in.wire_type() == protozero::pbf_wire_type::length_delimited) {
          for (int64_t i : in.get_packed_int64()) a.integers.push_back(i);
        } else {
          a.integers.push_back(in.get_int64());
        }
        break;
      default:
        in.skip();
    }
  }
  return a;
}

OnnxNode read_node(pbf_reader in) {
  OnnxNode node;
  while (in.next()) {
    switch (in.tag()) {
      case onnx::node::kInput:
        node.inputs.push_back(in.get_string());
        break;
      case onnx::node::kOutput:
        node.outputs.push_back(in.get_string());
        break;
      case onnx::node::kName:
        node.name = in.get_string();
        break;
      case onnx::node::kOpType:
        node.type = in.get_string();
        break;
      case onnx::node::kDomain:
        node.domain = in.get_string();
        break;
      case onnx::node::kAttribute: {
        std::string name;
        Attribute attribute = read_attribute(in.get_message(), name);
        node.attributes[name] = std::move(attribute);
        break;
      }
      default:
        in.skip();
    }
  }
  if (node.name.empty() && !node.outputs.empty()) node.name = node.outputs[0];
  return node;
}

class Reader {
 public:
  Reader(AlignedBytes bytes, const std::string& where)
      : bytes_(std::make_shared<AlignedBytes>(std::move(bytes))), where_(where) {}

  Graph run() {
    pbf_reader file(bytes_->data(), bytes_->size());
    protozero::data_view graph;
    while (file.next()) {
      switch (file.tag()) {
        case onnx::model::kGraph:
          graph = file.get_view();
          break;
        case onnx::model::kOpset:
          read_opset(file.get_message());
          break;
        case onnx::model::kMetadata:
          read_metadata(file.get_message());
          break;
        default:
          file.skip();
      }
    }
    if (graph.size() == 0) corrupt("", "is no ONNX model: it has no graph");
    if (opset_ < kOldestOpset || opset_ > kNewestOpset) {
      unsupported("", "is of opset " + std::to_string(opset_) + "; 11 to 21 are read");
    }
    read_graph(pbf_reader(graph));
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

  void read_opset(pbf_reader in) {
    std::string domain;
    int64_t version = 0;
    while (in.next()) {
      if (in.tag() == onnx::opset::kDomain) {
        domain = in.get_string();
      } else if (in.tag() == onnx::opset::kVersion) {
        version = in.get_int64();
      } else {
        in.skip();
      }
    }
    if (domain.empty() || domain == "ai.onnx") opset_ = version;
  }
  void read_metadata(pbf_reader in) {
    std::string key, text;
    while (in.next()) {
      if (in.tag() == onnx::entry::kKey) {
        key = in.get_string();
      } else if (in.tag() == onnx::entry::kValue) {
        text = in.get_string();
      } else {
        in.skip();
      }
    }
    g_.metadata[key] = text;
  }

  void read_graph(pbf_reader in) {
    std::vector<OnnxNode> nodes;
    std::vector<std::pair<std::string, Dims>> inputs, outputs;
    while (in.next()) {
      switch (in.tag()) {
        case onnx::graph_field::kName:
          g_.name = in.get_string();
          break;
        case onnx::graph_field::kNode:
          nodes.push_back(read_node(in.get_message()));
          break;
        case onnx::graph_field::kInitializer:
          read_tensor(in.get_message(), "");
          break;
        case onnx::graph_field::kInput:
          inputs.push_back(read_value(in.get_message()));
          break;
        case onnx::graph_field::kOutput:
          outputs.push_back(read_value(in.get_message()));
          break;
        case onnx::graph_field::kSparse:
          unsupported("the graph", "has sparse initialisers");
        default:
          in.skip();
      }
    }
    std::erase_if(inputs,
                  [&](const auto& input) { return known_.count(input.first) || ints_.count(input.first); });
    if (inputs.size() != 1 || outputs.size() != 1) {
      unsupported("the graph", "has " + std::to_string(inputs.size()) + " inputs and " +
                                   std::to_string(outputs.size()) + " outputs; one of each is read");
    }
    g_.input_dims = inputs[0].second;
    g_.input = define(inputs[0].first, g_.add_value(inputs[0].first));
    for (const OnnxNode& node : nodes) {
      node_ = &node;
      translate();
    }
    const auto found = known_.find(outputs[0].first);
    if (found == known_.end()) corrupt("the graph", "nothing computes its output " + outputs[0].first);
    g_.output = found->second;
    check();
  }

  // What can be checked before the batch is known.
  void check() const {
    Dims dims = g_.input_dims;
    if (!dims.empty()) dims[0] = std::max<int64_t>(1, dims[0]);
    if (!std::all_of(dims.begin(), dims.end(), [](int64_t dim) { return dim > 0; })) return;
    try {
      infer_shapes(g_, dims);
    } catch (const Error& error) {
      throw Error(error.code(), where_, error.what());
    }
  }

  std::pair<std::string, Dims> read_value(pbf_reader in) {
    std::string name;
    Dims dims;
    while (in.next()) {
      if (in.tag() == onnx::value::kName) {
        name = in.get_string();
      } else if (in.tag() == onnx::value::kType) {
        pbf_reader type = in.get_message();
        while (type.next()) {
          if (type.tag() == onnx::value::kTensorType) {
            dims = read_shape(type.get_message(), name);
          } else {
            type.skip();
          }
        }
      } else {
        in.skip();
      }
    }
    return {name, dims};
  }
  Dims read_shape(pbf_reader in, const std::string& name) {
    Dims dims;
    while (in.next()) {
      if (in.tag() == onnx::value::kElement) {
        if (const int32_t type = in.get_int32(); type != onnx::tensor::kTypeFloat)
          unsupported("value " + name, "is of element type " + std::to_string(type) + ", not float32");
      } else if (in.tag() == onnx::value::kShape) {
        pbf_reader shape = in.get_message();
        while (shape.next()) {
          if (shape.tag() != onnx::value::kDim) {
            shape.skip();
            continue;
          }
          pbf_reader dim = shape.get_message();
          int64_t size = -1;
          while (dim.next()) {
            if (dim.tag() == onnx::value::kSize) {
              size = dim.get_int64();
            } else {
              dim.skip();
            }
          }
          dims.push_back(size > 0 ? size : -1);
        }
      } else {
        in.skip();
      }
    }
    return dims;
  }

  // Many floats of the file, moved back over their field's head to where floats may begin; null if they are
  // few, or of an attribute, which is a copy.
  std::shared_ptr<const float> shared(const protozero::data_view& raw) const {
    const auto begin = reinterpret_cast<uintptr_t>(bytes_->data()),
               at = reinterpret_cast<uintptr_t>(raw.data());
    if (raw.size() < 128 || at < begin || at >= begin + bytes_->size())
      return nullptr;  // head: a tag, two bytes of length
    char* to = bytes_->data() + (at - begin) / alignof(float) * alignof(float);
    if (to != raw.data()) std::memmove(to, raw.data(), raw.size());
    return {bytes_, reinterpret_cast<const float*>(to)};
  }

  // Into known_ or ints_, under its own name or another.
  void read_tensor(pbf_reader in, const std::string& rename) {
    std::string name;
    protozero::data_view raw;
    Dims dims;
    int32_t type = 0;
    std::vector<float> floats;
    Ints ints;
    bool has_raw = false;
    while (in.next()) {
      const bool packed = in.wire_type() == protozero::pbf_wire_type::length_delimited;
      switch (in.tag()) {
        case onnx::tensor::kDims:
          if (packed) {
            for (int64_t dim : in.get_packed_int64()) dims.push_back(dim);
          } else {
            dims.push_back(in.get_int64());
          }
          break;
        case onnx::tensor::kType:
          type = in.get_int32();
          break;
        case onnx::tensor::kFloats:
          if (packed) {
            for (float f : in.get_packed_float()) floats.push_back(f);
          } else {
            floats.push_back(in.get_float());
          }
          break;
        case onnx::tensor::kInts:
          if (packed) {
            for (int64_t i : in.get_packed_int64()) ints.push_back(i);
          } else {
            ints.push_back(in.get_int64());
          }
          break;
        case onnx::tensor::kName:
          name = in.get_string();
          break;
        case onnx::tensor::kRaw:
          raw = in.get_view();
          has_raw = true;
          break;
        case onnx::tensor::kExternal:
          unsupported("tensor " + name, "keeps its data in another file");
        default:
          in.skip();
      }
    }
    if (!rename.empty()) name = rename;
    int64_t total = 1;
    for (int64_t dim : dims) {
      if (dim < 0 || dim > kMostElements || (total *= dim) > kMostElements)
        corrupt("tensor " + name, "is of size " + text(dims));
    }
    auto take = [&](auto& values) {
      using Number = typename std::decay_t<decltype(values)>::value_type;
      if (has_raw) {
        if (raw.size() != static_cast<size_t>(total) * sizeof(Number))
          corrupt("tensor " + name, "has " + std::to_string(raw.size()) + " bytes for " + text(dims));
        values.resize(total);
        if (total > 0) std::memcpy(values.data(), raw.data(), raw.size());
      } else if (static_cast<int64_t>(values.size()) != total) {
        corrupt("tensor " + name, "has " + std::to_string(values.size()) + " values for " + text(dims));
      }
    };
    if (type == onnx::tensor::kTypeFloat) {
      std::shared_ptr<const float> in_file;
      if (has_raw && raw.size() == static_cast<size_t>(total) * sizeof(float)) in_file = shared(raw);
      if (!in_file) take(floats);
      define(name,
             g_.add_value(name, Tensor{dims, in_file ? Floats(in_file, total) : Floats(std::move(floats))}));
    } else if (type == onnx::tensor::kTypeInt64) {
      take(ints);
      if (!ints_.emplace(name, std::move(ints)).second) corrupt("tensor " + name, "stands twice");
    } else {
      unsupported("tensor " + name,
                  "is of element type " + std::to_string(type) + ", neither float32 nor int64");
    }
  }

  int define(const std::string& name, int v) {
    if (!known_.emplace(name, v).second) corrupt("value " + name, "is written twice");
    return v;
  }

  // Of the node at hand.
  bool has(size_t k) const { return k < node_->inputs.size() && !node_->inputs[k].empty(); }
  int in(size_t k) const {
    if (!has(k)) corrupt("has no input " + std::to_string(k));
    const auto found = known_.find(node_->inputs[k]);
    if (found == known_.end()) {
      if (ints_.count(node_->inputs[k])) unsupported("computes on whole numbers");
      corrupt("reads " + node_->inputs[k] + ", which is not there yet");
    }
    return found->second;
  }
  const Tensor& constant(size_t k) const {
    const auto& found = g_.values[in(k)].constant;
    if (!found) unsupported("its input " + std::to_string(k) + " must be a constant");
    return *found;
  }
  const Ints& ints(size_t k) const {
    if (!has(k)) corrupt("has no input " + std::to_string(k));
    const auto found = ints_.find(node_->inputs[k]);
    if (found == ints_.end())
      unsupported("its input " + std::to_string(k) + " must be constant whole numbers");
    return found->second;
  }
  const Attribute* find(const char* name) const {
    const auto found = node_->attributes.find(name);
    return found == node_->attributes.end() ? nullptr : &found->second;
  }
  int64_t integer(const char* name, int64_t usual) const {
    const Attribute* a = find(name);
    return a ? a->integer : usual;
  }
  float number(const char* name, float usual) const {
    const Attribute* a = find(name);
    return a ? a->number : usual;
  }
  Pair pair(const char* name, Pair usual) const {
    const Attribute* a = find(name);
    if (!a) return usual;
    if (a->integers.size() != 2)
      unsupported(std::string(name) + " must be two numbers: only images are read");
    return {a->integers[0], a->integers[1]};
  }
  void pads(Pair& begin, Pair& end) const {
    if (const Attribute* a = find("auto_pad"); a && a->text != "NOTSET" && a->text != "VALID")
      unsupported("auto_pad = " + a->text + " is not read");
    const Attribute* a = find("pads");
    if (!a) return;
    if (a->integers.size() != 4) unsupported("pads must be four numbers: only images are read");
    begin = {a->integers[0], a->integers[1]};
    end = {a->integers[2], a->integers[3]};
  }
  void must_be(const char* name, float value) const {
    if (number(name, value) != value) unsupported(std::string(name) + " must be " + std::to_string(value));
  }
  void must_be(const char* name, int64_t value, int64_t usual) const {
    if (integer(name, usual) != value) unsupported(std::string(name) + " must be " + std::to_string(value));
  }
  int64_t axis(int64_t axis) const {  // one counted from behind depends on a rank that is not known yet
    if (axis < 0) unsupported("counts its axis from behind");
    return axis;
  }
  const std::string& out() const {
    if (node_->outputs.empty()) corrupt("has no output");
    return node_->outputs[0];
  }
  void add(Operator op, std::vector<int> inputs) {
    const int v = g_.add(node_->name, std::move(op), std::move(inputs));
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
  void alias() { define(out(), in(0)); }
  int scalar(const std::string& suffix, float value) {
    return g_.add_value(node_->name + suffix, Tensor{{}, {value}});
  }

  void translate() {
    if (!node_->domain.empty() && node_->domain != "ai.onnx")
      unsupported("is of the domain " + node_->domain);
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
        {"HardSigmoid", &Reader::hard_sigmoid},
        {"Softmax", &Reader::softmax},
        {"Add", &Reader::plain<Add>},
        {"Mul", &Reader::plain<Mul>},
        {"Div", &Reader::div},
        {"MaxPool", &Reader::pool<true>},
        {"AveragePool", &Reader::pool<false>},
        {"GlobalAveragePool", &Reader::plain<GlobalAverage>},
        {"Gemm", &Reader::gemm},
        {"Concat", &Reader::concat},
        {"Slice", &Reader::slice},
        {"Pad", &Reader::pad},
        {"Flatten", &Reader::flatten},
        {"Reshape", &Reader::reshape},
        {"Transpose", &Reader::transpose},
        {"Constant", &Reader::constant_node},
        {"Identity", &Reader::alias},
        {"Dropout", &Reader::alias},
    };
    for (const Entry& entry : kTable) {
      if (node_->type == entry.type) return (this->*entry.read)();
    }
    unsupported("is an operator that is not read here");
  }

  template <Function function>
  void unary() {
    add(Unary{function});
  }
  template <class Op>
  void plain() {
    add(Op{});
  }
  void conv() {
    const Dims& w = constant(1).dims;
    if (w.size() != 4) unsupported("its weight is of " + text(w) + ": only images are read");
    Conv op;
    op.kernel = pair("kernel_shape", {w[2], w[3]});
    op.stride = pair("strides", {1, 1});
    op.dilation = pair("dilations", {1, 1});
    op.groups = integer("group", 1);
    pads(op.pad_begin, op.pad_end);
    add(op);
  }
  void batch_norm() {
    must_be("training_mode", 0, 0);
    add(BatchNorm{number("epsilon", 1e-5f)});
  }
  void clip() {
    auto bound = [&](size_t k, float usual) {
      if (!has(k)) return usual;
      if (constant(k).values.size() != 1) corrupt("has a bound that is no single number");
      return constant(k).values[0];
    };
    add(Unary{Function::kClip, bound(1, -INFINITY), bound(2, INFINITY)}, {in(0)});
  }
  void hard_sigmoid() {
    if (std::abs(number("alpha", 0.2f) - 1.0f / 6) > 1e-6f || number("beta", 0.5f) != 0.5f)
      unsupported("is read with alpha = 1/6 and beta = 1/2 alone");
    add(Unary{Function::kHardSigmoid});
  }
  void softmax() {
    must_be("axis", 1, opset_ < 13 ? 1 : -1);
    add(Unary{Function::kSoftmax});
  }
  void div() {  // by a constant
    Tensor inverse = constant(1);
    for (float& value : inverse.values) value = 1 / value;
    add(Mul{}, {in(0), g_.add_value(node_->name + ".inverse", std::move(inverse))});
  }
  template <bool max>
  void pool() {
    must_be("ceil_mode", 0, 0);
    if (pair("dilations", {1, 1}) != Pair{1, 1}) unsupported("is dilated");
    Pool op;
    op.max = max;
    op.kernel = pair("kernel_shape", {1, 1});
    op.stride = pair("strides", {1, 1});
    pads(op.pad_begin, op.pad_end);
    if (op.pad_begin != Pair{} || op.pad_end != Pair{}) must_be("count_include_pad", 0, 0);
    add(op);
  }
  void gemm() {
    must_be("alpha", 1.0f);
    must_be("beta", 1.0f);
    must_be("transA", 0, 0);
    int weight = in(1);
    if (integer("transB", 0) == 0) {
      const Tensor& given = constant(1);
      if (given.dims.size() != 2) corrupt("its weight is of " + text(given.dims));
      const int64_t rows = given.dims[0], columns = given.dims[1];
      Tensor turned{{columns, rows}, Floats(given.values.size(), 0.0f)};
      float* to = turned.values.begin();
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < columns; ++j) to[j * rows + i] = given.values[i * columns + j];
      }
      weight = g_.add_value(node_->name + ".weight", std::move(turned));
    }
    std::vector<int> inputs = {in(0), weight};
    if (has(2)) inputs.push_back(in(2));
    add(Linear{}, inputs);
  }
  void concat() { add(Concat{axis(integer("axis", 1))}); }
  void slice() {
    const Ints &starts = ints(1), &ends = ints(2);
    if (starts.size() != 1 || ends.size() != 1 || !has(3) || ints(3).size() != 1)
      unsupported("is read along one axis alone");
    add(Slice{axis(ints(3)[0]), starts[0], ends[0], has(4) && !ints(4).empty() ? ints(4)[0] : 1}, {in(0)});
  }
  void pad() {
    if (const Attribute* mode = find("mode"); mode && mode->text != "constant")
      unsupported("mode must be constant");
    if (has(2) && (constant(2).values.size() != 1 || constant(2).values[0] != 0))
      unsupported("pads by zeros alone");
    const Ints& all = ints(1);
    const auto half = static_cast<std::ptrdiff_t>(all.size() / 2);
    add(Pad{{all.begin(), all.begin() + half}, {all.begin() + half, all.end()}}, {in(0)});
  }
  void flatten() {
    must_be("axis", 1, 1);
    add(Reshape{{0, -1}});
  }
  void reshape() {
    must_be("allowzero", 0, 0);
    add(Reshape{ints(1)}, {in(0)});
  }
  void transpose() {
    const Attribute* a = find("perm");
    if (!a) unsupported("is read with perm alone");
    add(Transpose{a->integers});
  }
  void constant_node() {
    const Attribute* a = find("value");
    if (!a || !a->has_tensor) unsupported("is read with a tensor alone");
    read_tensor(pbf_reader(a->tensor), out());
  }

  const std::shared_ptr<AlignedBytes> bytes_;
  std::string where_;
  int64_t opset_ = 0;
  Graph g_;
  std::map<std::string, int> known_;  // float values, constants among them
  std::map<std::string, Ints> ints_;
  const OnnxNode* node_ = nullptr;
};

}  // namespace

Graph parse_onnx(AlignedBytes bytes, const std::string& where) {
  try {
    return Reader(std::move(bytes), where).run();
  } catch (const onnx::WrongType& error) {
    throw Error(ErrorCode::kCorrupt, where, "is no ONNX model (" + std::string(error.what()) + ")");
  } catch (const protozero::exception& error) {
    throw Error(ErrorCode::kCorrupt, where,
                "is no ONNX model, or cut off (" + std::string(error.what()) + ")");
  }
}

Graph parse_onnx(std::string_view bytes, const std::string& where) {
  return parse_onnx(AlignedBytes(bytes.begin(), bytes.end()), where);
}

Graph read_onnx(const std::filesystem::path& path) {
  return parse_onnx(read_bytes(path), path.string());
}

}  // namespace fewshift::graph
