// Any bytes as an ONNX file, and, where they are one, in the engine: an Error or a result, nothing else.
// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <string>

#include "core/error.h"
#include "core/npy.h"
#include "engine/engine.h"
#include "graph/onnx/onnx.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fewshift;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  try {
    parse_npy(bytes, "fuzz");
  } catch (const Error&) {
  }
  try {
    graph::Graph g = graph::parse_onnx(bytes, "fuzz");
    int64_t most = 0;  // small ones alone are run: the fuzzer is to see branches, not arithmetic
    graph::Dims input = g.input_dims;
    if (!input.empty()) input[0] = 1;
    for (const graph::Dims& dims : infer_shapes(g, input)) most = std::max(most, graph::elements(dims));
    if (most > 20000) return 0;
    const auto model = engine::Model::from(std::move(g));
    engine::Session session(model, 1, 1);
    if (session.memory_bytes() > 50'000'000) return 0;
    std::vector<float> x(graph::elements(model->input_dims()), 0.5f),
        y(graph::elements(model->output_dims()));
    session.run(x.data(), y.data());
  } catch (const Error&) {
  }
  return 0;
}
