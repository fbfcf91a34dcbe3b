// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/file.h"
#include "graph/onnx/fields.h"
#include "graph/onnx/onnx.h"
#include "graph/onnx/protozero.h"

namespace fewshift::graph {
namespace {

using protozero::pbf_writer;
using Ints = std::vector<int64_t>;

class Writer {
 public:
  explicit Writer(const Graph& graph)
      : graph_(graph), dims_(infer_shapes(graph, for_one(graph.input_dims))) {}

  std::string run() {
    pbf_writer file(bytes_);
    file.add_int64(onnx::model::kIrVersion, 8);
    file.add_string(onnx::model::kProducer, "fewshift");
    {
      pbf_writer set(file, onnx::model::kOpset);
      set.add_string(onnx::opset::kDomain, "");
      set.add_int64(onnx::opset::kVersion, 13);
    }
    {
      pbf_writer out(file, onnx::model::kGraph);
      out_ = &out;
      out.add_string(onnx::graph_field::kName, graph_.name);
      for (const Node& node : graph_.nodes) {
        node_ = &node;
        std::visit([&](const auto& op) { write(op); }, node.op);
      }
      for (const Node& node : graph_.nodes) {
        for (int v : node.inputs) constant(v);
      }
      describe(onnx::graph_field::kInput, graph_.input);
      describe(onnx::graph_field::kOutput, graph_.output);
    }
    for (const auto& [key, text] : graph_.metadata) {
      pbf_writer entry(file, onnx::model::kMetadata);
      entry.add_string(onnx::entry::kKey, key);
      entry.add_string(onnx::entry::kValue, text);
    }
    return std::move(bytes_);
  }

 private:
  // One operator, with its attributes behind it. Ends with the object.
  struct Operation {
    Operation(pbf_writer& out, const std::string& type, const std::string& name,
              const std::vector<std::string>& inputs, const std::string& output)
        : node(out, onnx::graph_field::kNode) {
      for (const std::string& input : inputs) node.add_string(onnx::node::kInput, input);
      node.add_string(onnx::node::kOutput, output);
      node.add_string(onnx::node::kName, name);
      node.add_string(onnx::node::kOpType, type);
    }
    Operation& set(const char* name, int64_t number) {
      pbf_writer attribute = begin(name, onnx::attribute::kTypeInt);
      attribute.add_int64(onnx::attribute::kInt, number);
      return *this;
    }
    Operation& set(const char* name, float number) {
      pbf_writer attribute = begin(name, onnx::attribute::kTypeFloat);
      attribute.add_float(onnx::attribute::kFloat, number);
      return *this;
    }
    Operation& set(const char* name, const Ints& numbers) {
      pbf_writer attribute = begin(name, onnx::attribute::kTypeInts);
      for (int64_t number : numbers) attribute.add_int64(onnx::attribute::kInts, number);
      return *this;
    }
    pbf_writer begin(const char* name, int32_t type) {
      pbf_writer attribute(node, onnx::node::kAttribute);
      attribute.add_string(onnx::attribute::kName, name);
      attribute.add_enum(onnx::attribute::kType, type);
      return attribute;
    }
    pbf_writer node;
  };

  static Dims for_one(Dims dims) {
    if (!dims.empty() && dims[0] < 0) dims[0] = 1;
    return dims;
  }
  const std::string& name_of(int v) const { return graph_.values[v].name; }
  const std::string& in(size_t k) const { return name_of(node_->inputs[k]); }
  std::vector<std::string> ins() const {
    std::vector<std::string> names;
    for (int v : node_->inputs) names.push_back(name_of(v));
    return names;
  }
  Operation operation(const std::string& type, const std::vector<std::string>& inputs) {
    return {*out_, type, node_->name, inputs, name_of(node_->output)};
  }
  Operation operation(const std::string& type) { return operation(type, ins()); }
  // A step on the way, with a value of its own.
  std::string step(const std::string& type, const std::string& suffix,
                   const std::vector<std::string>& inputs) {
    const std::string name = node_->name + suffix;
    Operation(*out_, type, name, inputs, name);
    return name;
  }

  void tensor(const std::string& name, const Dims& dims, int32_t type, const void* data, size_t size) {
    pbf_writer tensor(*out_, onnx::graph_field::kInitializer);
    for (int64_t dim : dims) tensor.add_int64(onnx::tensor::kDims, dim);
    tensor.add_int32(onnx::tensor::kType, type);
    tensor.add_string(onnx::tensor::kName, name);
    tensor.add_bytes(onnx::tensor::kRaw, static_cast<const char*>(data), size);
  }
  std::string floats(const std::string& suffix, const Dims& dims, const std::vector<float>& values) {
    const std::string name = node_->name + suffix;
    tensor(name, dims, onnx::tensor::kTypeFloat, values.data(), values.size() * sizeof(float));
    return name;
  }
  std::string ints(const std::string& suffix, const Ints& values) {
    const std::string name = node_->name + suffix;
    tensor(name, {static_cast<int64_t>(values.size())}, onnx::tensor::kTypeInt64, values.data(),
           values.size() * sizeof(int64_t));
    return name;
  }
  void constant(int v) {
    if (!graph_.values[v].constant || std::find(written_.begin(), written_.end(), v) != written_.end())
      return;
    written_.push_back(v);
    const Tensor& c = *graph_.values[v].constant;
    tensor(name_of(v), c.dims, onnx::tensor::kTypeFloat, c.values.data(), c.values.size() * sizeof(float));
  }
  void describe(uint32_t field, int v) {
    pbf_writer value(*out_, field);
    value.add_string(onnx::value::kName, name_of(v));
    pbf_writer type(value, onnx::value::kType), of_tensor(type, onnx::value::kTensorType);
    of_tensor.add_int32(onnx::value::kElement, onnx::tensor::kTypeFloat);
    pbf_writer shape(of_tensor, onnx::value::kShape);
    for (size_t k = 0; k < dims_[v].size(); ++k) {
      pbf_writer dim(shape, onnx::value::kDim);
      if (k == 0) dim.add_string(onnx::value::kSymbol, "batch");
      if (k > 0) dim.add_int64(onnx::value::kSize, dims_[v][k]);
    }
  }

  static Ints pads(const Pair& begin, const Pair& end) { return {begin[0], begin[1], end[0], end[1]}; }
  static Ints both(const Pair& pair) { return {pair[0], pair[1]}; }

  void write(const Conv& op) {
    if (op.adds || op.clamps())
      throw Error(ErrorCode::kUnsupported, "node " + node_->name,
                  "is fused: files hold the operators one by one");
    write(op, ins());
  }
  void write(const Conv& op, const std::vector<std::string>& inputs) {
    operation("Conv", inputs)
        .set("dilations", both(op.dilation))
        .set("group", op.groups)
        .set("kernel_shape", both(op.kernel))
        .set("pads", pads(op.pad_begin, op.pad_end))
        .set("strides", both(op.stride));
  }
  // The kernel is as wide as the farthest move that still sees the map; a channel that sees nothing of it is
  // all zeros.
  void write(const Shift& op) {
    const Dims& x = dims_[node_->inputs[0]];
    const Dims& y = dims_[node_->output];
    auto seeing = [&](const std::array<int32_t, 2>& move) {
      return sees(move[0], op.stride, y[2], x[2]) && sees(move[1], op.stride, y[3], x[3]);
    };
    Pair reach{0, 0};
    for (const auto& move : op.moves) {
      for (int a = 0; a < 2 && seeing(move); ++a) reach[a] = std::max<int64_t>(reach[a], std::abs(move[a]));
    }
    const int64_t channels = x[1];
    const Pair kernel{2 * reach[0] + 1, 2 * reach[1] + 1};
    std::vector<float> weight(channels * kernel[0] * kernel[1], 0.0f);
    for (int64_t c = 0; c < channels; ++c) {
      const auto& move = op.moves[c];
      if (seeing(move)) weight[(c * kernel[0] + move[0] + reach[0]) * kernel[1] + move[1] + reach[1]] = 1;
    }
    write(Conv{kernel, {op.stride, op.stride}, {1, 1}, reach, reach, channels},
          {in(0), floats(".weight", {channels, 1, kernel[0], kernel[1]}, weight)});
  }
  void write(const BatchNorm& op) { operation("BatchNormalization").set("epsilon", op.epsilon); }
  void write(const Unary& op) {
    switch (op.function) {
      case Function::kRelu:
        operation("Relu");
        return;
      case Function::kClip:
        operation("Clip", {in(0), floats(".low", {}, {op.low}), floats(".high", {}, {op.high})});
        return;
      case Function::kSigmoid:
        operation("Sigmoid");
        return;
      case Function::kErf:
        operation("Erf");
        return;
      case Function::kGelu: {  // x / 2 * (1 + erf(x / sqrt 2)), in the order in which PyTorch writes it
        std::string s = step("Div", ".scaled", {in(0), floats(".root", {}, {std::sqrt(2.0f)})});
        s = step("Add", ".raised", {step("Erf", ".erf", {s}), floats(".one", {}, {1.0f})});
        operation("Mul", {step("Mul", ".product", {in(0), s}), floats(".half", {}, {0.5f})});
        return;
      }
      case Function::kHardSigmoid:
        operation("HardSigmoid").set("alpha", 1.0f / 6).set("beta", 0.5f);
        return;
      case Function::kHardSwish: {
        const std::string gate = node_->name + ".gate";
        Operation(*out_, "HardSigmoid", gate, {in(0)}, gate).set("alpha", 1.0f / 6).set("beta", 0.5f);
        operation("Mul", {in(0), gate});
        return;
      }
      case Function::kSwish: {
        const std::string gate = step("Sigmoid", ".gate", {in(0)});
        operation("Mul", {in(0), gate});
        return;
      }
      case Function::kSoftmax:
        operation("Softmax").set("axis", int64_t{1});
        return;
    }
  }
  void write(const Add&) { operation("Add"); }
  void write(const Mul&) { operation("Mul"); }
  void write(const Pool& op) {
    operation(op.max ? "MaxPool" : "AveragePool")
        .set("kernel_shape", both(op.kernel))
        .set("pads", pads(op.pad_begin, op.pad_end))
        .set("strides", both(op.stride));
  }
  void write(const GlobalAverage&) { operation("GlobalAveragePool"); }
  void write(const Linear&) { operation("Gemm").set("transB", int64_t{1}); }
  void write(const Concat& op) { operation("Concat").set("axis", op.axis); }
  void write(const Slice& op) {
    operation("Slice", {in(0), ints(".starts", {op.begin}), ints(".ends", {op.end}), ints(".axes", {op.axis}),
                        ints(".steps", {op.step})});
  }
  void write(const Pad& op) {
    Ints all = op.before;
    all.insert(all.end(), op.behind.begin(), op.behind.end());
    operation("Pad", {in(0), ints(".pads", all)});
  }
  void write(const Reshape& op) { operation("Reshape", {in(0), ints(".dims", op.dims)}); }
  void write(const Transpose& op) { operation("Transpose").set("perm", op.order); }

  const Graph& graph_;
  std::vector<Dims> dims_;
  std::string bytes_;
  pbf_writer* out_ = nullptr;
  const Node* node_ = nullptr;
  std::vector<int> written_;
};

}  // namespace

std::string format_onnx(const Graph& graph) {
  return Writer(graph).run();
}

void write_onnx(const std::filesystem::path& path, const Graph& graph) {
  write_file_atomic(path, format_onnx(graph));
}

}  // namespace fewshift::graph
