// Weights as the kernels read them.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kernels/depthwise.h"
#include "kernels/planar.h"
#include "kernels/pointwise.h"

namespace fewshift {

int64_t pack_pointwise(const float* weight, int64_t columns, const std::vector<int64_t>& outputs,
                       const std::vector<int64_t>& inputs, int lanes, int first, AlignedFloats& to) {
  const auto count = static_cast<int64_t>(outputs.size());
  const int64_t blocks = (first + count + lanes - 1) / lanes,
                each = static_cast<int64_t>(inputs.size()) * lanes, place = static_cast<int64_t>(to.size());
  to.resize(place + blocks * each, 0.0f);
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t begin = std::max<int64_t>(first - b * lanes, 0),
                  end = std::min<int64_t>(first + count - b * lanes, lanes);
    std::vector<const float*> rows(lanes);
    for (int64_t lane = begin; lane < end; ++lane)
      rows[lane] = weight + outputs[b * lanes - first + lane] * columns;
    float* vector = to.data() + place + b * each;
    for (int64_t input : inputs) {
      for (int64_t lane = begin; lane < end; ++lane) vector[lane] = rows[lane][input];
      vector += lanes;
    }
  }
  return place;
}

int64_t pack_depthwise(const float* weight, int64_t channels, int64_t taps, int lanes, AlignedFloats& to) {
  const auto place = static_cast<int64_t>(to.size());
  to.resize(place + (channels + lanes - 1) / lanes * taps * lanes, 0.0f);
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t t = 0; t < taps; ++t)
      to[place + (c / lanes * taps + t) * lanes + c % lanes] = weight[c * taps + t];
  }
  return place;
}

void pack_planar(const float* weight, int64_t outputs, int64_t inputs, int64_t output_step,
                 int64_t input_step, int height, PlanarOperands operands, float* to) {
  auto at = [&](int64_t i, int64_t k) {
    const float value = i < outputs && k < inputs ? weight[i * output_step + k * input_step] : 0.0f;
    return operands == PlanarOperands::kFloat ? value : nearest_bf16(value);
  };
  const bool pairs = operands == PlanarOperands::kPairs;
  for (int64_t o = 0; o < outputs; o += height) {
    for (int64_t k = 0; k < inputs; k += pairs ? 2 : 1) {
      for (int64_t i = o; i < o + height; ++i) {
        const auto low = std::bit_cast<uint32_t>(at(i, k));
        *to++ = std::bit_cast<float>(pairs ? low >> 16 | std::bit_cast<uint32_t>(at(i, k + 1)) : low);
      }
    }
  }
}

}  // namespace fewshift
