// SPDX-License-Identifier: Apache-2.0
#include "arch/count.h"

#include <algorithm>
#include <utility>

#include "arch/spatial.h"
#include "core/error.h"

namespace fewshift {
namespace {

class Counter {
 public:
  Counter(int size, const SpatialOperator& spatial) : size_(size), spatial_(spatial) {}

  void operator()(const std::string& name, const ConvBn& unit) { conv(name, unit); }

  void operator()(const std::string& name, const MaxPool& pool) {
    size_ = (size_ + 2 * (pool.kernel / 2) - pool.kernel) / pool.stride + 1;
    const int channels = count_.layers.back().out;
    add({name, "max pool", channels, channels, size_, size_});
  }

  void operator()(const std::string& name, const InvertedBottleneck& unit) {
    const int hidden = unit.hidden, out = unit.first > 0 ? unit.width() : unit.out;
    pointwise(name + ".expand", unit.width(), hidden);
    if (unit.spatial == Spatial::kPool) {
      size_ = std::max(1, size_ / 2);
      add({name + ".pool", "average pool", hidden, hidden, size_, size_});
    } else {
      if (unit.spatial == Spatial::kStridedShift) size_ = (size_ + 1) / 2;
      const bool moves = spatial_.displacements != Displacements::kNone;
      add({name + "." + spatial_.layer, spatial_.kind, hidden, hidden, size_, size_,
           spatial_.channel_params * hidden, spatial_.pixel_madds * hidden * size_ * size_,
           moves ? 2 * int64_t{hidden} : 0});
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

  void operator()(const std::string& name, const BasicBlock& unit) {
    conv(name + ".first", {unit.in, unit.out, 3, unit.stride});
    conv(name + ".second", {unit.out, unit.out, 3, 1});
  }

  void operator()(const std::string& name, const UniversalBottleneck& unit) {
    if (unit.start_kernel > 0)
      depthwise(name + ".start", unit.in, unit.start_kernel, unit.kernel > 0 ? 1 : unit.stride);
    if (unit.hidden != unit.in) pointwise(name + ".expand", unit.in, unit.hidden);
    if (unit.kernel > 0) depthwise(name + ".depthwise", unit.hidden, unit.kernel, unit.stride);
    pointwise(name + ".project", unit.hidden, unit.out);
  }

  void operator()(const std::string& name, const ShuffleUnit& unit) {
    const int half = unit.out / 2, in = unit.stride == 1 ? half : unit.in, size = size_;
    if (unit.stride == 2) {
      depthwise(name + ".beside.depthwise", in, 3, 2);
      pointwise(name + ".beside.project", in, half);
      size_ = size;
    }
    pointwise(name + ".expand", in, half);
    depthwise(name + ".depthwise", half, 3, unit.stride);
    pointwise(name + ".project", half, half);
  }

  void operator()(const std::string& name, const PartialBlock& unit) {
    const int64_t weights = 9 * int64_t{unit.mixed()} * unit.mixed();
    add({name + ".mix", "conv 3x3", unit.mixed(), unit.mixed(), size_, size_, weights,
         weights * size_ * size_});
    pointwise(name + ".expand", unit.channels, unit.hidden);
    pointwise(name + ".project", unit.hidden, unit.channels, false);
  }

  void operator()(const std::string& name, const Classifier& classifier) {
    int channels = classifier.in;
    if (classifier.head > 0) {
      pointwise(name + ".head", channels, classifier.head);
      channels = classifier.head;
    }
    size_ = 1;
    if (classifier.pooled > 0) {
      pointwise(name + ".pooled", channels, classifier.pooled, classifier.pooled_norm);
      channels = classifier.pooled;
    }
    const int64_t weights = int64_t{channels} * classifier.classes;
    add({name + ".linear", "linear", channels, classifier.classes, 1, 1, weights + classifier.classes,
         weights});
  }

  Count take() { return std::move(count_); }

 private:
  void conv(const std::string& name, const ConvBn& unit, bool norm = true) {
    if (size_ + 2 * unit.pad() < unit.kernel) {
      throw Error(ErrorCode::kInvalidArgument, "--size",
                  "is too small for this network: nothing is left of the map at " + name);
    }
    size_ = (size_ + 2 * unit.pad() - unit.kernel) / unit.stride + 1;
    const int64_t weights = int64_t{unit.in} / unit.groups * unit.out * unit.kernel * unit.kernel;
    const std::string kernel = std::to_string(unit.kernel) + "x" + std::to_string(unit.kernel);
    const std::string kind = unit.kernel == 1                        ? "pointwise"
                             : unit.groups == unit.in && unit.in > 1 ? "depthwise " + kernel
                                                                     : "conv " + kernel;
    add({name, kind, unit.in, unit.out, size_, size_, weights + (norm ? 2 * unit.out : 0),
         weights * size_ * size_});
  }
  void pointwise(const std::string& name, int in, int out, bool norm = true) {
    conv(name, {in, out, 1, 1}, norm);
  }
  void depthwise(const std::string& name, int channels, int kernel, int stride) {
    conv(name, {channels, channels, kernel, stride, Activation::kNone, channels});
  }
  void add(LayerCount layer) {
    count_.params += layer.params;
    count_.madds += layer.madds;
    count_.displacements += layer.displacements;
    count_.layers.push_back(std::move(layer));
  }

  int size_;
  const SpatialOperator& spatial_;
  Count count_;
};

}  // namespace

Count count(const Arch& arch, int size) {
  Counter counter(size > 0 ? size : arch.size, spatial_operator(arch.shift));
  for (const NamedUnit& unit : arch.units) {
    std::visit([&](const auto& u) { counter(unit.name, u); }, unit.unit);
  }
  return counter.take();
}

}  // namespace fewshift
