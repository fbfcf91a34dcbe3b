// SPDX-License-Identifier: Apache-2.0
#include "arch/count.h"

#include <algorithm>

namespace fewshift {
namespace {

class Counter {
 public:
  explicit Counter(int size) : size_(size) {}

  void operator()(const std::string& name, const ConvBn& conv) {
    size_ = (size_ + conv.stride - 1) / conv.stride;
    const int64_t weights = int64_t{conv.in} * conv.out * conv.kernel * conv.kernel;
    const std::string kernel = std::to_string(conv.kernel);
    add({name, "conv " + kernel + "x" + kernel, conv.in, conv.out, size_, size_, weights + 2 * conv.out,
         weights * size_ * size_});
  }

  void operator()(const std::string& name, const InvertedBottleneck& unit) {
    const int hidden = unit.hidden, out = unit.first > 0 ? unit.width() : unit.out;
    pointwise(name + ".expand", unit.width(), hidden);
    if (unit.spatial == Spatial::kPool) {
      size_ = std::max(1, size_ / 2);
      add({name + ".pool", "average pool", hidden, hidden, size_, size_});
    } else {
      if (unit.spatial == Spatial::kStridedShift) size_ = (size_ + 1) / 2;
      add({name + ".shift", "sparse shift", hidden, hidden, size_, size_, 0, 0, 2 * int64_t{hidden}});
    }
    if (unit.squeeze > 0) {
      const int64_t narrow = hidden / unit.squeeze, weights = 2 * hidden * narrow;
      add({name + ".squeeze", "squeeze-excite", hidden, hidden, size_, size_, weights + narrow + hidden,
           weights});
    }
    pointwise(name + ".project", hidden, out);
    if (unit.shortcut == Shortcut::kProjection) {
      pointwise(name + ".shortcut", unit.width(), out);
    }
  }

  void operator()(const std::string& name, const Classifier& classifier) {
    int channels = classifier.in;
    if (classifier.head > 0) {
      pointwise(name + ".head", channels, classifier.head);
      channels = classifier.head;
    }
    const int64_t weights = int64_t{channels} * classifier.classes;
    add({name + ".linear", "linear", channels, classifier.classes, 1, 1, weights + classifier.classes,
         weights});
  }

  Count take() { return std::move(count_); }

 private:
  void pointwise(const std::string& name, int in, int out) {
    const int64_t weights = int64_t{in} * out;
    add({name, "pointwise", in, out, size_, size_, weights + 2 * out, weights * size_ * size_});
  }
  void add(LayerCount layer) {
    count_.params += layer.params;
    count_.madds += layer.madds;
    count_.displacements += layer.displacements;
    count_.layers.push_back(std::move(layer));
  }

  int size_;
  Count count_;
};

}  // namespace

Count count(const Arch& arch, int size) {
  Counter counter(size > 0 ? size : arch.size);
  for (const NamedUnit& unit : arch.units) {
    std::visit([&](const auto& u) { counter(unit.name, u); }, unit.unit);
  }
  return counter.take();
}

}  // namespace fewshift
