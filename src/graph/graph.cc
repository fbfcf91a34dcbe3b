// SPDX-License-Identifier: Apache-2.0
#include "graph/graph.h"

namespace fewshift::graph {

int64_t elements(const Dims& dims) {
  int64_t product = 1;
  for (int64_t dim : dims) product *= dim;
  return product;
}

std::string text(const Dims& dims) {
  std::string result;
  for (int64_t dim : dims) {
    if (!result.empty()) result += 'x';
    result += std::to_string(dim);
  }
  return result.empty() ? "scalar" : result;
}

const char* kind(const Operator& op) {
  constexpr const char* kNames[] = {"conv",     "shift", "batch norm", "function", "add",
                                    "multiply", "pool",  "average",    "linear",   "concat",
                                    "slice",    "pad",   "reshape",    "transpose"};
  static_assert(std::size(kNames) == std::variant_size_v<Operator>);
  return kNames[op.index()];
}

int Graph::add_value(std::string value_name, std::optional<Tensor> constant) {
  values.push_back({std::move(value_name), std::move(constant)});
  return static_cast<int>(values.size()) - 1;
}

int Graph::add(std::string node_name, Operator op, std::vector<int> inputs) {
  const int result = add_value(node_name);
  nodes.push_back({std::move(node_name), std::move(op), std::move(inputs), result});
  return result;
}

}  // namespace fewshift::graph
