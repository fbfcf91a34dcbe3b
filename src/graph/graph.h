// A trained network as data: operators on values, constants among them. No LibTorch, no kernels.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/floats.h"

namespace fewshift::graph {

using Dims = std::vector<int64_t>;
using Pair = std::array<int64_t, 2>;  // of rows and of columns

struct Tensor {
  Dims dims;
  Floats values;  // row-major
};

int64_t elements(const Dims& dims);
std::string text(const Dims& dims);  // "1x3x224x224"

// Operators. Activations are [N,C,H,W]; x stands for a node's first input.

// Inputs x, weight [out,in/groups,kh,kw] and, maybe, bias [out]; where it adds, bias and a summand of the
// output's dimensions. low and high clamp what comes out. Files know neither adding nor clamping: passes fuse
// them.
struct Conv {
  Pair kernel{1, 1}, stride{1, 1}, dilation{1, 1}, pad_begin{0, 0}, pad_end{0, 0};
  int64_t groups = 1;
  bool adds = false;
  float low = -std::numeric_limits<float>::infinity(), high = std::numeric_limits<float>::infinity();
  bool clamps() const {
    return low > -std::numeric_limits<float>::infinity() || high < std::numeric_limits<float>::infinity();
  }
};
// y[n,c,i,j] = x[n,c, stride*i + dy_c, stride*j + dx_c], 0 outside of x; ceil(H/stride) x ceil(W/stride).
struct Shift {
  std::vector<std::array<int32_t, 2>> moves;  // (dy, dx) px, a channel each
  int64_t stride = 1;
};
// Whether pixel stride * i + move, for an i of [0, count), lies in [0, size): whether such a channel sees
// anything.
inline bool sees(int64_t move, int64_t stride, int64_t count, int64_t size) {
  return move < size && stride * (count - 1) + move >= 0;
}
// Inputs x, scale, bias, mean, variance, each [C].
struct BatchNorm {
  float epsilon = 1e-5f;
};
enum class Function { kRelu, kClip, kSigmoid, kErf, kGelu, kHardSigmoid, kHardSwish, kSwish, kSoftmax };
// A function of every element (softmax: over axis 1).
struct Unary {
  Function function = Function::kRelu;
  float low = 0, high = 0;  // kClip alone
};
// Of two values, one of which may be broadcast as in NumPy.
struct Add {};
struct Mul {};
// Rectangles that reach over the border see what lies inside alone.
struct Pool {
  bool max = false;  // else the average
  Pair kernel{1, 1}, stride{1, 1}, pad_begin{0, 0}, pad_end{0, 0};
};
struct GlobalAverage {};  // [N,C,H,W] -> [N,C,1,1], or [N,C,pixels] -> [N,C,1]
// Inputs x [N,in], weight [out,in] and, maybe, bias [out].
struct Linear {};
struct Concat {
  int64_t axis = 1;
};
// Elements begin, begin + step, ... below end of an axis; end may lie beyond it.
struct Slice {
  int64_t axis = 1, begin = 0, end = 0, step = 1;
};
// Zeros before and behind, an axis each.
struct Pad {
  Dims before, behind;
};
// 0: as in x; -1: what is left.
struct Reshape {
  Dims dims;
};
struct Transpose {
  std::vector<int64_t> order;
};

using Operator = std::variant<Conv, Shift, BatchNorm, Unary, Add, Mul, Pool, GlobalAverage, Linear, Concat,
                              Slice, Pad, Reshape, Transpose>;

const char* kind(const Operator& op);  // "conv", for messages

struct Value {
  std::string name;
  std::optional<Tensor> constant;
};

struct Node {
  std::string name;  // as inspect calls the layer: "units.3.expand"
  Operator op;
  std::vector<int> inputs;  // indices of values
  int output = 0;
};

// Nodes stand in the order of their work: each after those whose outputs it reads.
struct Graph {
  std::string name;
  std::vector<Value> values;
  std::vector<Node> nodes;
  int input = 0, output = 0;
  Dims input_dims;  // [-1,C,H,W]: any batch
  std::map<std::string, std::string> metadata;

  int add_value(std::string value_name, std::optional<Tensor> constant = {});
  // Appends a node and returns its output, which has the node's name.
  int add(std::string node_name, Operator op, std::vector<int> inputs);
};

// What a reshape of `from` to `sizes` comes to, in which one may be -1, what is left, and, with zero_copies,
// 0 is as in `from`; nothing where that cannot be.
std::optional<Dims> reshaped(const Dims& from, Dims sizes, bool zero_copies = true);

// Whether `order` names each axis of so many once.
bool is_permutation(const std::vector<int64_t>& order, size_t axes);

// The dimensions of what a node computes of inputs of these. Throws Error (kCorrupt, naming the node): too
// many or too few, or they do not fit the operator; sizes beyond 2^31 elements.
Dims infer_shape(const Node& node, const std::vector<Dims>& inputs);

// The dimensions of every value for an input of `input` dimensions; for constants, their own. Throws Error
// (kCorrupt, naming the node): inputs that are missing, too many or too few, read before they are written,
// or whose dimensions do not fit the operator; a value written twice; sizes beyond 2^31 elements.
std::vector<Dims> infer_shapes(const Graph& graph, const Dims& input);

}  // namespace fewshift::graph
