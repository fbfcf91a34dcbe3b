// Any bytes as an ONNX file, and, where they are one, run: an error or a result, nothing else.
// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "core/error.h"

using LibraryError = fewshift::Error;  // what lies behind the interface's

#include <fewshift/fewshift.hpp>

#include "core/npy.h"
#include "graph/onnx/onnx.h"
#include "onnx_mutator.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t most);

// The plain kernels: they touch nothing that they are not asked for, and the sanitizers see all of them.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  setenv("FEWSHIFT_ISA", "reference", 1);
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned seed) {
  if (seed % 4 == 0) return LLVMFuzzerMutate(data, size, most);
  const std::string changed =
      fewshift::OnnxMutator(seed).mutate(std::string(reinterpret_cast<const char*>(data), size));
  if (changed.size() > most || changed.empty()) return LLVMFuzzerMutate(data, size, most);
  std::memcpy(data, changed.data(), changed.size());
  return changed.size();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  try {
    fewshift::parse_npy(bytes, "fuzz");
  } catch (const LibraryError&) {
  }
  try {
    fewshift::graph::annotate_onnx(bytes, "fuzz", {{"key", "text"}});
  } catch (const LibraryError&) {
  }
  // Small ones alone are run: the fuzzer is to see branches, not arithmetic.
  const fewshift::Limits limits{1 << 20, 1000, 16 << 20, 4 << 20, 1 << 20};
  try {
    const fewshift::Model model(fewshift::Bytes{data, size}, limits);
    const int64_t batch = 1 + static_cast<int64_t>(size % 3);
    fewshift::Session session(model, batch, size % 16 == 0 ? 2 : 1);
    const std::vector<float> x(fewshift::Model::numbers(model.input_dims()) * batch, 0.5f);
    std::vector<float> features;
    session.run(x, &features);
  } catch (const fewshift::v1::Error&) {
  }
  return 0;
}
