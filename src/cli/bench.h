// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

namespace fewshift::cli {

struct BenchOptions {
  std::string model, train, data, fused = "on", hidden = "bf16", shift = "ssl", precision = "float32";
  int batch = 0, threads = 0, size = 0, steps = 0;  // 0: what the kind of bench takes
  int rand_augment = 0;
  double scale_min = 0.35;
  double sparsity = -1;
  bool json = false, layers = false;
};

int bench_model(const BenchOptions& options);  // MODEL.onnx on the engine
int bench_train(const BenchOptions& options);  // a training step
int bench_data(const BenchOptions& options);   // a training's pictures

}  // namespace fewshift::cli
