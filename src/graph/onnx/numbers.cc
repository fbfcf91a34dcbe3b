// SPDX-License-Identifier: Apache-2.0
#include "graph/onnx/numbers.h"

#include <algorithm>
#include <cmath>

#include "graph/onnx/fields.h"

namespace fewshift::graph::onnx {
namespace {

constexpr int64_t kMost = 4096;    // numbers of a result
constexpr double kLargest = 9e18;  // as an integer

class Computation {
 public:
  Computation(const NodeMessage& node, const std::vector<const Numbers*>& inputs, int64_t opset)
      : node_(node), inputs_(inputs), opset_(opset) {}

  using Function = Numbers (*)(Computation&);
  // What computes a node of such a type, or null.
  static Function find_function(const std::string& type) {
    struct Entry {
      const char* type;
      Function function;
    };
    static constexpr Entry kTable[] = {
        {"Add", call<&Computation::binary<add>>},
        {"Sub", call<&Computation::binary<subtract>>},
        {"Mul", call<&Computation::binary<multiply>>},
        {"Div", call<&Computation::divide>},
        {"Max", call<&Computation::binary<larger>>},
        {"Min", call<&Computation::binary<smaller>>},
        {"Neg", call<&Computation::unary<negate>>},
        {"Ceil", call<&Computation::unary<ceiling>>},
        {"Floor", call<&Computation::unary<floor>>},
        {"Round", call<&Computation::unary<round>>},
        {"Sqrt", call<&Computation::unary<root>>},
        {"Exp", call<&Computation::unary<exponential>>},
        {"Abs", call<&Computation::unary<magnitude>>},
        {"Reciprocal", call<&Computation::unary<reciprocal>>},
        {"Pow", call<&Computation::binary<power>>},
        {"Clip", call<&Computation::clip>},
        {"Cast", call<&Computation::cast>},
        {"Identity", call<&Computation::same>},
        {"Gather", call<&Computation::gather>},
        {"Unsqueeze", call<&Computation::unsqueeze>},
        {"Squeeze", call<&Computation::squeeze>},
        {"Concat", call<&Computation::concat>},
        {"Slice", call<&Computation::slice>},
        {"Reshape", call<&Computation::reshape>},
        {"Transpose", call<&Computation::transpose>},
        {"ConstantOfShape", call<&Computation::constant_of_shape>},
    };
    for (const Entry& entry : kTable) {
      if (type == entry.type) return entry.function;
    }
    return nullptr;
  }
  Numbers run() {
    const Function function = find_function(node_.type);
    if (!function) throw NotComputed("computes on sizes in a way that is not read here");
    return function(*this);
  }

  template <Numbers (Computation::*member)()>
  static Numbers call(Computation& computation) {
    return (computation.*member)();
  }

 private:
  static double add(double a, double b) { return a + b; }
  static double subtract(double a, double b) { return a - b; }
  static double multiply(double a, double b) { return a * b; }
  static double larger(double a, double b) { return std::isnan(a) || a > b ? a : b; }
  static double smaller(double a, double b) { return std::isnan(a) || a < b ? a : b; }
  static double negate(double a) { return -a; }
  static double ceiling(double a) { return std::ceil(a); }
  static double floor(double a) { return std::floor(a); }
  static double round(double a) { return std::nearbyint(a); }  // halves to even
  static double root(double a) { return std::sqrt(a); }
  static double exponential(double a) { return std::exp(a); }
  static double magnitude(double a) { return std::abs(a); }
  static double reciprocal(double a) { return quotient(1, a); }
  static double power(double a, double b) { return std::pow(a, b); }

  bool has(size_t k) const { return k < inputs_.size() && inputs_[k]; }
  const Numbers& in(size_t k) const {
    if (!has(k)) throw NotComputed("has no input " + std::to_string(k));
    return *inputs_[k];
  }
  std::vector<int64_t> list(size_t k) const {
    try {
      return integers(in(k));
    } catch (const std::invalid_argument& error) {
      throw NotComputed("its input " + std::to_string(k) + " " + error.what());
    }
  }
  const AttributeMessage* find(const char* name) const {
    const auto found = node_.attributes.find(name);
    return found == node_.attributes.end() ? nullptr : &found->second;
  }
  static int64_t axis_of(int64_t axis, size_t rank) {
    if (axis < 0) axis += static_cast<int64_t>(rank);
    if (axis < 0 || axis >= static_cast<int64_t>(rank)) throw NotComputed("has an axis out of range");
    return axis;
  }

  // Numbers of dimensions `dims`, each f(its coordinates).
  template <class F>
  static Numbers make(const Dims& dims, bool whole, F f) {
    int64_t total = 1;
    for (int64_t dim : dims) {
      if (dim < 0 || dim > kMost || (total *= dim) > kMost)
        throw NotComputed("computes " + text(dims) + " numbers on sizes");
    }
    Numbers result{dims, {}, whole};
    std::vector<int64_t> at(dims.size(), 0);
    for (int64_t p = 0; p < total; ++p) {
      result.values.push_back(f(at));
      for (size_t k = dims.size(); k-- > 0 && ++at[k] == dims[k];) at[k] = 0;
    }
    return result;
  }
  static double value(const Numbers& x, const std::vector<int64_t>& at) {
    int64_t p = 0;
    for (size_t k = 0; k < x.dims.size(); ++k) p = p * x.dims[k] + at[k];
    return x.values.at(p);
  }

  template <double (*function)(double, double)>
  Numbers binary() {
    const Numbers &a = in(0), &b = in(1);
    if (inputs_.size() > 2) throw NotComputed("has more than two inputs");
    const size_t rank = std::max(a.dims.size(), b.dims.size());
    Dims dims(rank);
    auto dim = [&](const Numbers& x, size_t k) {
      return k + x.dims.size() < rank ? 1 : x.dims[k + x.dims.size() - rank];
    };
    for (size_t k = 0; k < rank; ++k) {
      if (dim(a, k) != dim(b, k) && dim(a, k) != 1 && dim(b, k) != 1)
        throw NotComputed("its inputs do not fit");
      dims[k] = dim(a, k) == 1 ? dim(b, k) : dim(a, k);
    }
    return make(dims, a.whole && b.whole, [&](const std::vector<int64_t>& at) {
      auto of = [&](const Numbers& x) {
        std::vector<int64_t> own(at.end() - static_cast<std::ptrdiff_t>(x.dims.size()), at.end());
        for (size_t k = 0; k < own.size(); ++k) {
          if (x.dims[k] == 1) own[k] = 0;
        }
        return value(x, own);
      };
      return function(of(a), of(b));
    });
  }
  Numbers divide() {
    Numbers result = binary<quotient>();
    if (result.whole) {
      for (double& v : result.values) v = std::trunc(v);
    }
    return result;
  }
  static double quotient(double a, double b) {
    if (b == 0) throw NotComputed("divides by zero");
    return a / b;
  }
  template <double (*function)(double)>
  Numbers unary() {
    Numbers result = in(0);
    for (double& v : result.values) v = function(v);
    return result;
  }
  Numbers clip() {
    Numbers result = in(0);
    for (double& v : result.values) {
      if (has(1) && in(1).values.size() == 1) v = larger(v, in(1).values[0]);
      if (has(2) && in(2).values.size() == 1) v = smaller(v, in(2).values[0]);
    }
    return result;
  }
  Numbers cast() {
    Numbers result = in(0);
    const AttributeMessage* to = find("to");
    const int64_t type = to ? to->integer : 0;
    result.whole = type == tensor::kTypeInt32 || type == tensor::kTypeInt64;
    if (!result.whole && type != tensor::kTypeFloat && type != tensor::kTypeDouble)
      throw NotComputed("casts sizes to element type " + std::to_string(type));
    if (result.whole) {
      for (double& v : result.values) v = std::trunc(v);
    }
    return result;
  }
  Numbers same() { return in(0); }
  Numbers gather() {
    const Numbers& x = in(0);
    const AttributeMessage* a = find("axis");
    const auto axis = static_cast<std::ptrdiff_t>(axis_of(a ? a->integer : 0, x.dims.size()));
    const std::vector<int64_t> indices = list(1);
    const size_t rank = in(1).dims.size();
    Dims dims(x.dims.begin(), x.dims.begin() + axis);
    dims.insert(dims.end(), in(1).dims.begin(), in(1).dims.end());
    dims.insert(dims.end(), x.dims.begin() + axis + 1, x.dims.end());
    return make(dims, x.whole, [&](const std::vector<int64_t>& at) {
      int64_t place = 0;
      for (size_t k = 0; k < rank; ++k) place = place * in(1).dims[k] + at[axis + k];
      int64_t index = indices.at(place);
      if (index < 0) index += x.dims[axis];
      if (index < 0 || index >= x.dims[axis]) throw NotComputed("takes a number that is not there");
      std::vector<int64_t> from(at.begin(), at.begin() + axis);
      from.push_back(index);
      from.insert(from.end(), at.begin() + axis + static_cast<std::ptrdiff_t>(rank), at.end());
      return value(x, from);
    });
  }
  std::vector<int64_t> axes() const {
    if (opset_ >= 13) return has(1) ? list(1) : std::vector<int64_t>();
    const AttributeMessage* a = find("axes");
    return a ? a->integers : std::vector<int64_t>();
  }
  Numbers unsqueeze() {
    Numbers result = in(0);
    std::vector<int64_t> where = axes();
    for (int64_t& axis : where) axis = axis_of(axis, result.dims.size() + where.size());
    std::sort(where.begin(), where.end());
    for (int64_t axis : where) {
      if (axis > static_cast<int64_t>(result.dims.size())) throw NotComputed("has an axis out of range");
      result.dims.insert(result.dims.begin() + axis, 1);
    }
    return result;
  }
  Numbers squeeze() {
    Numbers result = in(0);
    std::vector<int64_t> where = axes();
    for (int64_t& axis : where) axis = axis_of(axis, result.dims.size());
    Dims dims;
    for (size_t k = 0; k < result.dims.size(); ++k) {
      const bool named = std::find(where.begin(), where.end(), static_cast<int64_t>(k)) != where.end();
      if (result.dims[k] != 1 || !(named || where.empty())) dims.push_back(result.dims[k]);
      if (result.dims[k] != 1 && named) throw NotComputed("drops an axis that is longer than 1");
    }
    result.dims = dims;
    return result;
  }
  Numbers concat() {
    Numbers result{{0}, {}, true};
    for (size_t k = 0; k < inputs_.size(); ++k) {
      if (in(k).dims.size() != 1) throw NotComputed("joins sizes of more than one dimension");
      result.whole &= in(k).whole;
      result.values.insert(result.values.end(), in(k).values.begin(), in(k).values.end());
    }
    if (result.values.size() > kMost) throw NotComputed("joins too many numbers");
    result.dims[0] = static_cast<int64_t>(result.values.size());
    return result;
  }
  Numbers slice() {
    const Numbers& x = in(0);
    const std::vector<int64_t> starts = list(1), ends = list(2);
    std::vector<int64_t> where = has(3) ? list(3) : std::vector<int64_t>(),
                         steps = has(4) ? list(4) : std::vector<int64_t>(starts.size(), 1);
    for (size_t k = where.size(); k < starts.size() && !has(3); ++k) where.push_back(static_cast<int64_t>(k));
    if (ends.size() != starts.size() || where.size() != starts.size() || steps.size() != starts.size())
      throw NotComputed("has not as many ends, axes and steps as starts");
    std::vector<int64_t> first(x.dims.size(), 0), step(x.dims.size(), 1);
    Dims dims = x.dims;
    for (size_t k = 0; k < starts.size(); ++k) {
      const int64_t axis = axis_of(where[k], x.dims.size()), size = x.dims[axis], by = steps[k];
      if (by == 0 || std::abs(by) > kMost) throw NotComputed("has a step out of range");
      auto inside = [&](int64_t place, int64_t low, int64_t high) {
        return std::clamp(place < 0 ? place + size : place, low, high);
      };
      const int64_t begin = by > 0 ? inside(starts[k], 0, size) : inside(starts[k], -1, size - 1),
                    end = by > 0 ? inside(ends[k], 0, size) : inside(ends[k], -1, size - 1);
      first[axis] = begin, step[axis] = by;
      dims[axis] = std::max<int64_t>(0, (end - begin + (by > 0 ? by - 1 : by + 1)) / by);
    }
    return make(dims, x.whole, [&](std::vector<int64_t> at) {
      for (size_t k = 0; k < at.size(); ++k) at[k] = first[k] + step[k] * at[k];
      return value(x, at);
    });
  }
  Numbers reshape() {
    Numbers result = in(0);
    const std::optional<Dims> dims = reshaped(result.dims, list(1));
    if (!dims) throw NotComputed("cannot make " + text(list(1)) + " of " + text(result.dims));
    result.dims = *dims;
    return result;
  }
  Numbers transpose() {
    const Numbers& x = in(0);
    std::vector<int64_t> order;
    for (size_t k = x.dims.size(); k-- > 0;) order.push_back(static_cast<int64_t>(k));
    if (const AttributeMessage* a = find("perm")) order = a->integers;
    if (!is_permutation(order, x.dims.size())) throw NotComputed("its order does not name each axis once");
    Dims dims;
    for (int64_t axis : order) dims.push_back(x.dims[axis]);
    return make(dims, x.whole, [&](const std::vector<int64_t>& at) {
      std::vector<int64_t> from(at.size());
      for (size_t k = 0; k < at.size(); ++k) from[order[k]] = at[k];
      return value(x, from);
    });
  }
  Numbers constant_of_shape() {
    double fill = 0;
    bool whole = false;
    if (const AttributeMessage* a = find("value"); a && a->tensor) {
      const TensorMessage t = read_tensor(*a->tensor);
      whole = t.type == tensor::kTypeInt64 || t.type == tensor::kTypeInt32;
      if (t.type == tensor::kTypeInt64 && t.raw && t.raw->size() == sizeof(int64_t)) {
        int64_t value = 0;
        std::copy_n(t.raw->data(), sizeof value, reinterpret_cast<char*>(&value));
        fill = static_cast<double>(value);
      } else if (t.type == tensor::kTypeFloat && t.raw && t.raw->size() == sizeof(float)) {
        float value = 0;
        std::copy_n(t.raw->data(), sizeof value, reinterpret_cast<char*>(&value));
        fill = value;
      } else if (t.integers.size() == 1) {
        fill = static_cast<double>(t.integers[0]);
      } else if (t.floats.size() == 1) {
        fill = t.floats[0];
      } else {
        throw NotComputed("fills with a value that is not read here");
      }
    }
    return make(list(0), whole, [&](const std::vector<int64_t>&) { return fill; });
  }

  const NodeMessage& node_;
  const std::vector<const Numbers*>& inputs_;
  const int64_t opset_;
};

}  // namespace

std::vector<int64_t> integers(const Numbers& numbers) {
  std::vector<int64_t> result;
  for (double value : numbers.values) {
    if (std::isnan(value)) throw std::invalid_argument("depends on the batch");
    if (!numbers.whole) throw std::invalid_argument("is no whole number");
    result.push_back(static_cast<int64_t>(std::clamp(value, -kLargest, kLargest)));
  }
  return result;
}

bool computes(const std::string& type) {
  return Computation::find_function(type) != nullptr;
}

Numbers compute(const NodeMessage& node, const std::vector<const Numbers*>& inputs, int64_t opset) {
  return Computation(node, inputs, opset).run();
}

}  // namespace fewshift::graph::onnx
