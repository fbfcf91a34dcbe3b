// Where a graph's constants come from: a checkpoint, or chance.
// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstring>
#include <numeric>

#include "core/error.h"
#include "core/fnv.h"
#include "core/random.h"
#include "export/lower.h"

namespace fewshift {
namespace {

using graph::Dims;
using graph::Tensor;

Tensor random_displacements(int64_t channels, double sparsity, Random& random) {
  std::vector<int64_t> order(channels);
  std::iota(order.begin(), order.end(), int64_t{0});
  shuffle(order, random);
  Tensor result{{channels, 2}, std::vector<float>(2 * channels, 0.0f)};
  for (int64_t k = std::llround(sparsity * static_cast<double>(channels)); k < channels; ++k) {
    const uint64_t move = random.below(8), place = move < 4 ? move : move + 1;  // of 3x3, without the middle
    result.values[2 * order[k]] = static_cast<float>(place / 3) - 1;
    result.values[2 * order[k] + 1] = static_cast<float>(place % 3) - 1;
  }
  return result;
}

}  // namespace

Weights weights_of(const SafeTensors& file, const std::string& where) {
  return [&file, where](const std::string& name, const Dims& dims) {
    const auto found = file.tensors.find(name);
    if (found == file.tensors.end()) throw Error(ErrorCode::kCorrupt, where, "has no tensor " + name);
    const RawTensor& raw = found->second;
    if (raw.dtype != "F32" || raw.shape != dims) {
      throw Error(
          ErrorCode::kCorrupt, where,
          name + " is " + raw.dtype + " of " + graph::text(raw.shape) + ", not F32 of " + graph::text(dims));
    }
    Tensor tensor{dims, std::vector<float>(raw.bytes.size() / sizeof(float))};
    std::memcpy(tensor.values.begin(), raw.bytes.data(), raw.bytes.size());
    return tensor;
  };
}

Weights random_weights(uint64_t seed, double sparsity) {
  return [seed, sparsity](const std::string& name, const Dims& dims) {
    Random random{seed, fnv(name)};
    if (name.ends_with(".displacement")) return random_displacements(dims[0], sparsity, random);
    Tensor tensor{dims, std::vector<float>(graph::elements(dims),
                                           name.ends_with("bias") || name.ends_with("mean") ? 0 : 1)};
    if (dims.size() > 1) {
      const double fan = static_cast<double>(graph::elements(dims) / dims[0]);
      for (float& value : tensor.values) value = static_cast<float>(random.normal() * std::sqrt(2 / fan));
    }
    return tensor;
  };
}

}  // namespace fewshift
