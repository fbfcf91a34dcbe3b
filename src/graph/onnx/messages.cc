// SPDX-License-Identifier: Apache-2.0
#include "graph/onnx/messages.h"

#include "graph/onnx/fields.h"

namespace fewshift::graph::onnx {
namespace {

using protozero::pbf_reader;

bool packed(const pbf_reader& in) {
  return in.wire_type() == protozero::pbf_wire_type::length_delimited;
}
void read_floats(pbf_reader& in, std::vector<float>& to) {
  if (packed(in)) {
    for (float value : in.get_packed_float()) to.push_back(value);
  } else {
    to.push_back(in.get_float());
  }
}
void read_integers(pbf_reader& in, std::vector<int64_t>& to) {
  if (packed(in)) {
    for (int64_t value : in.get_packed_int64()) to.push_back(value);
  } else {
    to.push_back(in.get_int64());
  }
}

AttributeMessage read_attribute(pbf_reader in, std::string& name) {
  AttributeMessage a;
  while (in.next()) {
    switch (in.tag()) {
      case attribute::kName:
        name = in.get_string();
        break;
      case attribute::kFloat:
        a.number = in.get_float();
        break;
      case attribute::kInt:
        a.integer = in.get_int64();
        break;
      case attribute::kString:
        a.text = in.get_string();
        break;
      case attribute::kTensor:
        a.tensor = in.get_view();
        break;
      case attribute::kFloats:
        read_floats(in, a.numbers);
        break;
      case attribute::kInts:
        read_integers(in, a.integers);
        break;
      default:
        in.skip();
    }
  }
  return a;
}

NodeMessage read_node(pbf_reader in) {
  NodeMessage node;
  while (in.next()) {
    switch (in.tag()) {
      case node::kInput:
        node.inputs.push_back(in.get_string());
        break;
      case node::kOutput:
        node.outputs.push_back(in.get_string());
        break;
      case node::kName:
        node.name = in.get_string();
        break;
      case node::kOpType:
        node.type = in.get_string();
        break;
      case node::kDomain:
        node.domain = in.get_string();
        break;
      case node::kAttribute: {
        std::string name;
        AttributeMessage attribute = read_attribute(in.get_message(), name);
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

int64_t read_dim(pbf_reader in) {
  int64_t size = -1;
  while (in.next()) {
    if (in.tag() == value::kSize) {
      size = in.get_int64();
    } else {
      in.skip();
    }
  }
  return size > 0 ? size : -1;
}

void read_tensor_type(pbf_reader in, ValueMessage& v) {
  while (in.next()) {
    if (in.tag() == value::kElement) {
      v.element = in.get_int32();
    } else if (in.tag() == value::kShape) {
      pbf_reader shape = in.get_message();
      while (shape.next()) {
        if (shape.tag() == value::kDim) {
          v.dims.push_back(read_dim(shape.get_message()));
        } else {
          shape.skip();
        }
      }
    } else {
      in.skip();
    }
  }
}

ValueMessage read_value(pbf_reader in) {
  ValueMessage v;
  while (in.next()) {
    if (in.tag() == value::kName) {
      v.name = in.get_string();
    } else if (in.tag() == value::kType) {
      pbf_reader type = in.get_message();
      while (type.next()) {
        if (type.tag() == value::kTensorType) {
          read_tensor_type(type.get_message(), v);
        } else {
          type.skip();
        }
      }
    } else {
      in.skip();
    }
  }
  return v;
}

}  // namespace

TensorMessage read_tensor(data_view bytes) {
  TensorMessage t;
  pbf_reader in(bytes);
  while (in.next()) {
    switch (in.tag()) {
      case tensor::kDims:
        read_integers(in, t.dims);
        break;
      case tensor::kType:
        t.type = in.get_int32();
        break;
      case tensor::kFloats:
        read_floats(in, t.floats);
        break;
      case tensor::kInt32s:
      case tensor::kInts:
        read_integers(in, t.integers);
        break;
      case tensor::kDoubles:
        if (packed(in)) {
          for (double value : in.get_packed_double()) t.doubles.push_back(value);
        } else {
          t.doubles.push_back(in.get_double());
        }
        break;
      case tensor::kName:
        t.name = in.get_string();
        break;
      case tensor::kRaw:
        t.raw = in.get_view();
        break;
      case tensor::kExternal:
        t.external = true;
        in.skip();
        break;
      case tensor::kLocation:
        t.external |= in.get_int32() != 0;
        break;
      default:
        in.skip();
    }
  }
  return t;
}

GraphMessage read_graph(data_view bytes) {
  GraphMessage g;
  pbf_reader in(bytes);
  while (in.next()) {
    switch (in.tag()) {
      case graph_field::kName:
        g.name = in.get_string();
        break;
      case graph_field::kNode:
        g.nodes.push_back(read_node(in.get_message()));
        break;
      case graph_field::kInitializer:
        g.initializers.push_back(in.get_view());
        break;
      case graph_field::kInput:
        g.inputs.push_back(read_value(in.get_message()));
        break;
      case graph_field::kOutput:
        g.outputs.push_back(read_value(in.get_message()));
        break;
      case graph_field::kSparse:
        g.sparse = true;
        in.skip();
        break;
      default:
        in.skip();
    }
  }
  return g;
}

ModelMessage read_model(data_view bytes) {
  ModelMessage m;
  pbf_reader in(bytes);
  while (in.next()) {
    switch (in.tag()) {
      case model::kGraph:
        m.graph = in.get_view();
        break;
      case model::kOpset: {
        pbf_reader opset = in.get_message();
        std::string domain;
        int64_t version = 0;
        while (opset.next()) {
          if (opset.tag() == opset::kDomain) {
            domain = opset.get_string();
          } else if (opset.tag() == opset::kVersion) {
            version = opset.get_int64();
          } else {
            opset.skip();
          }
        }
        if (domain.empty() || domain == "ai.onnx") m.opset = version;
        break;
      }
      case model::kMetadata: {
        pbf_reader entry = in.get_message();
        std::string key, text;
        while (entry.next()) {
          if (entry.tag() == entry::kKey) {
            key = entry.get_string();
          } else if (entry.tag() == entry::kValue) {
            text = entry.get_string();
          } else {
            entry.skip();
          }
        }
        m.metadata[key] = text;
        break;
      }
      default:
        in.skip();
    }
  }
  return m;
}

}  // namespace fewshift::graph::onnx
