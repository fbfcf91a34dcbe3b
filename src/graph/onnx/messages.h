// ONNX's protocol buffers as they stand in a file, with nothing understood yet. What is large stays where it
// is: views into the bytes, which must outlive them. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graph/graph.h"
#include "graph/onnx/protozero.h"

namespace fewshift::graph::onnx {

using protozero::data_view;

struct TensorMessage {
  std::string name;
  Dims dims;
  int32_t type = 0;  // onnx::tensor::kType...
  std::vector<float> floats;
  std::vector<double> doubles;
  std::vector<int64_t> integers;  // of int32_data and int64_data
  std::optional<data_view> raw;
  bool external = false;  // its data lies in another file
};

struct AttributeMessage {
  float number = 0;
  int64_t integer = 0;
  std::string text;
  std::vector<float> numbers;
  std::vector<int64_t> integers;
  std::optional<data_view> tensor;
};

struct NodeMessage {
  std::string type, name, domain;
  std::vector<std::string> inputs, outputs;
  std::map<std::string, AttributeMessage> attributes;
};

struct ValueMessage {
  std::string name;
  int32_t element = 0;
  std::vector<int64_t> dims;  // -1: open
};

struct GraphMessage {
  std::string name;
  std::vector<NodeMessage> nodes;
  std::vector<data_view> initializers;
  std::vector<ValueMessage> inputs, outputs;
  bool sparse = false;  // has sparse initialisers
};

struct ModelMessage {
  int64_t opset = 0;
  std::map<std::string, std::string> metadata;
  std::optional<data_view> graph;
};

// They throw what protozero throws, and WrongType, where the bytes are none.
ModelMessage read_model(data_view bytes);
GraphMessage read_graph(data_view bytes);
TensorMessage read_tensor(data_view bytes);

}  // namespace fewshift::graph::onnx
