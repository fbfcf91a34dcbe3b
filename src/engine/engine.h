// Networks as ONNX files on the CPU: one loaded model, any number of sessions. Needs no LibTorch.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/aligned.h"
#include "graph/graph.h"
#include "graph/limits.h"

namespace fewshift::engine {

// Weights as the kernels read them. Constant: sessions of any threads may share it.
class Model {
 public:
  // Throws Error naming the file, field or node: not readable, corrupt, with an operator that is not computed
  // here, beyond the limits.
  static std::shared_ptr<const Model> load(const std::filesystem::path& file,
                                           const graph::Limits& limits = {});
  static std::shared_ptr<const Model> parse(AlignedBytes bytes, const std::string& where,
                                            const graph::Limits& limits = {});
  static std::shared_ptr<const Model> from(graph::Graph graph, const graph::Limits& limits = {});
  ~Model();

  const std::string& name() const;
  const std::vector<int64_t>& input_dims() const;   // of one picture: [1,C,H,W]
  const std::vector<int64_t>& output_dims() const;  // likewise
  int64_t feature_count()
      const;  // of one picture: of what the last pooling over a whole map gives; 0: no such
  bool gives_probabilities() const;  // a softmax is its last operator
  const std::map<std::string, std::string>& metadata() const;
  int64_t madds() const;  // of convolutions and linear layers, for one picture

 private:
  friend class Session;
  struct State;
  explicit Model(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// One batch size, on as many threads as said: the caller's and others of its own. Not for two callers at a
// time.
class Session {
 public:
  // model not null; batch and threads from 1 on. Throws Error (kInvalidArgument; kUnsupported where more than
  // the model's limit of memory would be needed).
  Session(std::shared_ptr<const Model> model, int64_t batch = 1, int threads = 1);
  ~Session();
  Session(const Session&) = delete;

  // input [batch,C,H,W], output [batch] times output_dims(), features [batch][feature_count()] or none,
  // row-major. Allocates nothing.
  void run(const float* input, float* output, float* features = nullptr) noexcept;

  // The layers in their order, and the seconds they took since profile(true): for reading a bench.
  struct Layer {
    std::string name, kind;
    // Of one picture: on average; at the fastest, if one thread does all, else on average too.
    double seconds = 0, best = 0, madds = 0;
    bool shifts = false;
  };
  void profile(bool on);
  std::vector<Layer> layers() const;

  int64_t memory_bytes() const;  // activations

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fewshift::engine
