// What a model may take at most: files come from strangers. Checked before the memory is taken.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

namespace fewshift::graph {

struct Limits {
  int64_t file_bytes = int64_t{2} << 30;  // of an ONNX file: protocol buffers end there too
  int64_t nodes = 20'000;                 // of a graph
  int64_t weight_bytes =
      int64_t{4} << 30;  // of all constants as the nodes read them, shared ones once for each
  int64_t memory_bytes = int64_t{8} << 30;  // of a session's activations
  int64_t madds = int64_t{10} << 40;  // multiply-adds of one picture; other operators count by their outputs
};

}  // namespace fewshift::graph
