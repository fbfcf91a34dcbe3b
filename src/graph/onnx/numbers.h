// The small computations on sizes and constants that exporters leave in a graph ("half of this map's
// channels"): carried out while it is read. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "graph/onnx/messages.h"

namespace fewshift::graph::onnx {

// A few numbers. NaN stands for the batch, which is not known, and for whatever depends on it.
struct Numbers {
  Dims dims;
  std::vector<double> values;
  bool whole = true;  // integers
};

// Throws std::invalid_argument, saying of what, where a number is the batch's or no whole one.
std::vector<int64_t> integers(const Numbers& numbers);

// What is not computed here, or does not fit: for a message that names the node.
struct NotComputed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Whether nodes of this type are.
bool computes(const std::string& type);

// The node on numbers, as ONNX says; an input that is left out is null. Throws NotComputed.
Numbers compute(const NodeMessage& node, const std::vector<const Numbers*>& inputs, int64_t opset);

}  // namespace fewshift::graph::onnx
