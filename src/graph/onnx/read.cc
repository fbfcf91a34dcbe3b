// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/error.h"
#include "core/file.h"
#include "graph/onnx/arithmetic_nodes.h"
#include "graph/onnx/onnx.h"
#include "graph/passes/passes.h"

namespace fewshift::graph {
namespace {

using onnx::AttributeMessage;
using onnx::NodeMessage;
using onnx::Numbers;

constexpr int64_t kOldestOpset = 11, kNewestOpset = 21;

class Reader : onnx::ArithmeticNodes {
 public:
  Reader(AlignedBytes bytes, const std::string& where, const Limits& limits)
      : ArithmeticNodes(std::move(bytes), where, limits) {}

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
    drop_unread(g_);
  }

  void read_input(const onnx::ValueMessage& input) {
    if (input.element != onnx::tensor::kTypeFloat)
      unsupported("input " + input.name,
                  "is of element type " + std::to_string(input.element) + ", not float32");
    if (input.dims.empty()) unsupported("input " + input.name, "has no batch");
    g_.input_dims = input.dims;
    Dims dims = input.dims;
    dims[0] = std::max<int64_t>(1, dims[0]);
    if (!std::all_of(dims.begin(), dims.end(),
                     [](int64_t dim) { return dim > 0 && dim <= onnx::kMostElements; }))
      unsupported(
          "input " + input.name,
          "has channels or a size that the file leaves open; only the batch may be: export it for one size");
    int64_t total = 1;
    for (int64_t dim : dims) {
      if ((total *= dim) > onnx::kMostElements)
        unsupported("input " + input.name, "is of size " + text(dims));
    }
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

  void constant_node() {
    const AttributeMessage* a = nullptr;
    if ((a = find("value")) && a->tensor) return read_constant(*a->tensor, out());
    if ((a = find("value_float"))) return add_constant(out(), Tensor{{}, {a->number}});
    if ((a = find("value_floats")))
      return add_constant(out(), Tensor{{static_cast<int64_t>(a->numbers.size())}, a->numbers});
    if ((a = find("value_int"))) return keep(out(), Numbers{{}, {static_cast<double>(a->integer)}, true});
    if ((a = find("value_ints"))) {
      if (a->integers.size() > onnx::kMostNumbers) unsupported("is of too many whole numbers");
      return keep(out(), Numbers{{static_cast<int64_t>(a->integers.size())},
                                 {a->integers.begin(), a->integers.end()},
                                 true});
    }
    unsupported("is read with numbers alone");
  }
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
