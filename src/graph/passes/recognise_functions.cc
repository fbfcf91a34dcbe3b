// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <optional>

#include "graph/passes/passes.h"

namespace fewshift::graph {
namespace {

class Recogniser {
 public:
  explicit Recogniser(Graph& graph) : graph_(graph), writers_(find_writers(graph)) {}

  void run() {
    for (Node& node : graph_.nodes) {
      if (gelu(node) || gated(node)) continue;
      hard(node);
    }
  }

 private:
  const Node* writer(int v) const { return writers_[v] < 0 ? nullptr : &graph_.nodes[writers_[v]]; }
  // The node that wrote a value, if it is such a function.
  const Node* function(int v, Function f) const {
    const Node* node = writer(v);
    const auto* unary = node ? std::get_if<Unary>(&node->op) : nullptr;
    return unary && unary->function == f ? node : nullptr;
  }
  // If the node combines one value with the constant `number`, that value.
  template <class Op>
  std::optional<int> with_constant(const Node* node, double number) const {
    if (!node || !std::holds_alternative<Op>(node->op)) return {};
    for (int k = 0; k < 2; ++k) {
      const auto& constant = graph_.values[node->inputs[k]].constant;
      if (constant && constant->values.size() == 1 && std::abs(constant->values[0] - number) < 1e-6)
        return node->inputs[1 - k];
    }
    return {};
  }
  static bool replace(Node& node, Function f, int x) {
    node.op = Unary{f};
    node.inputs = {x};
    return true;
  }

  // x * 0.5 * (1 + erf(x / sqrt 2))
  bool gelu(Node& last) {
    const auto product = with_constant<Mul>(&last, 0.5);
    const Node* times = product ? writer(*product) : nullptr;
    if (!times || !std::holds_alternative<Mul>(times->op)) return false;
    for (int k = 0; k < 2; ++k) {
      const int x = times->inputs[k];
      const auto erf_value = with_constant<Add>(writer(times->inputs[1 - k]), 1.0);
      const Node* erf = erf_value ? function(*erf_value, Function::kErf) : nullptr;
      if (erf && with_constant<Mul>(writer(erf->inputs[0]), std::sqrt(0.5)) == std::optional(x))
        return replace(last, Function::kGelu, x);
    }
    return false;
  }
  // x * sigmoid(x), x * hard_sigmoid(x)
  bool gated(Node& node) {
    if (!std::holds_alternative<Mul>(node.op)) return false;
    for (int k = 0; k < 2; ++k) {
      const int x = node.inputs[k];
      for (const auto& [gate, product] : {std::pair{Function::kSigmoid, Function::kSwish},
                                          std::pair{Function::kHardSigmoid, Function::kHardSwish}}) {
        const Node* by = function(node.inputs[1 - k], gate);
        if (by && by->inputs[0] == x) return replace(node, product, x);
      }
    }
    return false;
  }
  // clip(x + 3, 0, 6): the x
  std::optional<int> ramp(int v) const {
    const Node* clip = function(v, Function::kClip);
    if (!clip || std::get<Unary>(clip->op).low != 0 || std::get<Unary>(clip->op).high != 6) return {};
    return with_constant<Add>(writer(clip->inputs[0]), 3.0);
  }
  // clip(x + 3, 0, 6) / 6, and x times that, in whichever order
  bool hard(Node& node) {
    const auto sixfold = with_constant<Mul>(&node, 1.0 / 6);
    if (!sixfold) return false;
    if (const auto x = ramp(*sixfold)) return replace(node, Function::kHardSigmoid, *x);
    const Node* product = writer(*sixfold);
    if (!product || !std::holds_alternative<Mul>(product->op)) return false;
    for (int k = 0; k < 2; ++k) {
      if (ramp(product->inputs[1 - k]) == std::optional(product->inputs[k]))
        return replace(node, Function::kHardSwish, product->inputs[k]);
    }
    return false;
  }

  Graph& graph_;
  const std::vector<int> writers_;
};

}  // namespace

void recognise_functions(Graph& graph) {
  Recogniser(graph).run();
  drop_unread(graph);
}

}  // namespace fewshift::graph
