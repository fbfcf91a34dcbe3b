// SPDX-License-Identifier: Apache-2.0
#include "graph/interpreter.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace fewshift::graph {
namespace {

using Numbers = std::vector<double>;

double apply(const Unary& op, double x) {
  switch (op.function) {
    case Function::kRelu:
      return std::max(x, 0.0);
    case Function::kClip:
      return std::min<double>(std::max<double>(x, op.low), op.high);
    case Function::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case Function::kErf:
      return std::erf(x);
    case Function::kGelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Function::kHardSigmoid:
      return std::clamp(x / 6 + 0.5, 0.0, 1.0);
    case Function::kHardSwish:
      return x * std::clamp(x / 6 + 0.5, 0.0, 1.0);
    case Function::kSwish:
      return x / (1 + std::exp(-x));
    case Function::kSoftmax:
      break;  // not of a single element
  }
  return x;
}

class Interpreter {
 public:
  Interpreter(const Graph& graph, const Tensor& input)
      : graph_(graph), dims_(infer_shapes(graph, input.dims)), values_(dims_.size()) {
    for (size_t v = 0; v < dims_.size(); ++v) {
      const auto& constant = graph.values[v].constant;
      if (constant) values_[v].assign(constant->values.begin(), constant->values.end());
    }
    values_[graph.input].assign(input.values.begin(), input.values.end());
  }

  Tensor run() {
    for (const Node& node : graph_.nodes) {
      node_ = &node;
      out().assign(elements(out_dims()), 0.0);
      std::visit([&](const auto& op) { compute(op); }, node.op);
    }
    const Numbers& result = values_[graph_.output];
    return {dims_[graph_.output], std::vector<float>(result.begin(), result.end())};
  }

 private:
  const Numbers& in(size_t k) const { return values_[node_->inputs[k]]; }
  const Dims& in_dims(size_t k) const { return dims_[node_->inputs[k]]; }
  Numbers& out() { return values_[node_->output]; }
  const Dims& out_dims() const { return dims_[node_->output]; }

  // Calls f(place in the output, its coordinates) for every element of the output.
  template <class F>
  void each(F f) const {
    const Dims& d = out_dims();
    std::vector<int64_t> at(d.size(), 0);
    for (int64_t p = 0, total = elements(d); p < total; ++p) {
      f(p, at);
      for (size_t k = d.size(); k-- > 0 && ++at[k] == d[k];) at[k] = 0;
    }
  }
  static int64_t place(const Dims& d, const std::vector<int64_t>& at) {
    int64_t p = 0;
    for (size_t k = 0; k < d.size(); ++k) p = p * d[k] + at[k];
    return p;
  }
  // x[n,c,i,j] of input 0, 0 outside of the map.
  double pixel(int64_t n, int64_t c, int64_t i, int64_t j) const {
    const Dims& d = in_dims(0);
    return i < 0 || j < 0 || i >= d[2] || j >= d[3] ? 0 : in(0)[((n * d[1] + c) * d[2] + i) * d[3] + j];
  }

  void compute(const Conv& op) {
    const int64_t inputs = in_dims(1)[1], outputs = out_dims()[1] / op.groups;
    each([&](int64_t p, const std::vector<int64_t>& at) {
      const int64_t n = at[0], o = at[1], first = o / outputs * inputs;
      double sum = (node_->inputs.size() >= 3 ? in(2)[o] : 0) + (op.adds ? in(3)[p] : 0);
      for (int64_t c = 0; c < inputs; ++c) {
        for (int64_t k = 0; k < op.kernel[0]; ++k) {
          for (int64_t l = 0; l < op.kernel[1]; ++l) {
            sum += in(1)[((o * inputs + c) * op.kernel[0] + k) * op.kernel[1] + l] *
                   pixel(n, first + c, at[2] * op.stride[0] - op.pad_begin[0] + k * op.dilation[0],
                         at[3] * op.stride[1] - op.pad_begin[1] + l * op.dilation[1]);
          }
        }
      }
      out()[p] = std::min<double>(std::max<double>(sum, op.low), op.high);
    });
  }
  void compute(const Shift& op) {
    each([&](int64_t p, const std::vector<int64_t>& at) {
      const auto [dy, dx] = op.moves[at[1]];
      out()[p] = pixel(at[0], at[1], op.stride * at[2] + dy, op.stride * at[3] + dx);
    });
  }
  void compute(const BatchNorm& op) {
    each([&](int64_t p, const std::vector<int64_t>& at) {
      const int64_t c = at[1];
      out()[p] = (in(0)[p] - in(3)[c]) / std::sqrt(in(4)[c] + op.epsilon) * in(1)[c] + in(2)[c];
    });
  }
  void compute(const Unary& op) {
    if (op.function == Function::kSoftmax) return softmax();
    for (size_t p = 0; p < out().size(); ++p) out()[p] = apply(op, in(0)[p]);
  }
  void softmax() {
    const Dims& d = out_dims();
    const int64_t classes = d[1], inner = elements(d) / d[0] / classes;
    for (int64_t n = 0; n < d[0]; ++n) {
      for (int64_t k = 0; k < inner; ++k) {
        auto at = [&](int64_t c) { return (n * classes + c) * inner + k; };
        double largest = -std::numeric_limits<double>::infinity(), sum = 0;
        for (int64_t c = 0; c < classes; ++c) largest = std::max(largest, in(0)[at(c)]);
        for (int64_t c = 0; c < classes; ++c) sum += out()[at(c)] = std::exp(in(0)[at(c)] - largest);
        for (int64_t c = 0; c < classes; ++c) out()[at(c)] /= sum;
      }
    }
  }
  template <class F>
  void broadcast(F f) {
    each([&](int64_t p, const std::vector<int64_t>& at) {
      auto value = [&](size_t k) {
        const Dims& d = in_dims(k);
        int64_t q = 0;
        for (size_t a = 0; a < d.size(); ++a) q = q * d[a] + (d[a] == 1 ? 0 : at[at.size() - d.size() + a]);
        return in(k)[q];
      };
      out()[p] = f(value(0), value(1));
    });
  }
  void compute(const Add&) {
    broadcast([](double a, double b) { return a + b; });
  }
  void compute(const Mul&) {
    broadcast([](double a, double b) { return a * b; });
  }
  void compute(const Pool& op) {
    const Dims& d = in_dims(0);
    each([&](int64_t p, const std::vector<int64_t>& at) {
      double sum = 0, largest = -std::numeric_limits<double>::infinity();
      int64_t seen = 0;
      for (int64_t k = 0; k < op.kernel[0]; ++k) {
        for (int64_t l = 0; l < op.kernel[1]; ++l) {
          const int64_t i = at[2] * op.stride[0] - op.pad_begin[0] + k,
                        j = at[3] * op.stride[1] - op.pad_begin[1] + l;
          if (i < 0 || j < 0 || i >= d[2] || j >= d[3]) continue;
          const double value = pixel(at[0], at[1], i, j);
          sum += value, largest = std::max(largest, value), ++seen;
        }
      }
      out()[p] = op.max ? largest : sum / static_cast<double>(seen);
    });
  }
  void compute(const GlobalAverage&) {
    const int64_t pixels = elements(in_dims(0)) / (in_dims(0)[0] * in_dims(0)[1]);
    for (size_t p = 0; p < in(0).size(); ++p) out()[p / pixels] += in(0)[p] / static_cast<double>(pixels);
  }
  void compute(const Linear&) {
    const int64_t width = in_dims(0)[1];
    each([&](int64_t p, const std::vector<int64_t>& at) {
      double sum = node_->inputs.size() == 3 ? in(2)[at[1]] : 0;
      for (int64_t k = 0; k < width; ++k) sum += in(0)[at[0] * width + k] * in(1)[at[1] * width + k];
      out()[p] = sum;
    });
  }
  void compute(const Concat& op) {
    each([&](int64_t p, std::vector<int64_t> at) {
      size_t k = 0;
      for (; at[op.axis] >= in_dims(k)[op.axis]; ++k) at[op.axis] -= in_dims(k)[op.axis];
      out()[p] = in(k)[place(in_dims(k), at)];
    });
  }
  void compute(const Slice& op) {
    each([&](int64_t p, std::vector<int64_t> at) {
      at[op.axis] = op.begin + op.step * at[op.axis];
      out()[p] = in(0)[place(in_dims(0), at)];
    });
  }
  void compute(const Pad& op) {
    each([&](int64_t p, std::vector<int64_t> at) {
      bool inside = true;
      for (size_t k = 0; k < at.size(); ++k) {
        at[k] -= op.before[k];
        inside &= at[k] >= 0 && at[k] < in_dims(0)[k];
      }
      if (inside) out()[p] = in(0)[place(in_dims(0), at)];
    });
  }
  void compute(const Reshape&) { out() = in(0); }
  void compute(const Transpose& op) {
    each([&](int64_t p, const std::vector<int64_t>& at) {
      std::vector<int64_t> from(at.size());
      for (size_t k = 0; k < at.size(); ++k) from[op.order[k]] = at[k];
      out()[p] = in(0)[place(in_dims(0), from)];
    });
  }

  const Graph& graph_;
  std::vector<Dims> dims_;
  std::vector<Numbers> values_;
  const Node* node_ = nullptr;
};

}  // namespace

Tensor interpret(const Graph& graph, const Tensor& input) {
  return Interpreter(graph, input).run();
}

}  // namespace fewshift::graph
