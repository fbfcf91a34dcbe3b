// SPDX-License-Identifier: Apache-2.0
#include "nn/spatial.h"

#include <map>

#include "core/error.h"
#include "nn/shift_layer.h"

namespace fewshift {
namespace {

template <bool interpolated>
std::shared_ptr<SpatialModule> shift(int64_t channels, int64_t stride) {
  return std::make_shared<ShiftLayerImpl>(channels, stride, interpolated);
}

std::map<std::string, MakeSpatial>& table() {
  static std::map<std::string, MakeSpatial> makers = {
      {"ssl", shift<false>},
      {"asl", shift<true>},
      {"gsl", shift<false>},
      {"random", shift<false>},
      {"depthwise", [](int64_t c, int64_t stride) { return std::make_shared<DepthwiseLayer>(c, stride); }},
  };
  return makers;
}

}  // namespace

DepthwiseLayer::DepthwiseLayer(int64_t channels, int64_t stride_) : stride(stride_) {
  weight = register_parameter("weight", torch::empty({channels, 1, 3, 3}));
  torch::nn::init::kaiming_normal_(weight, 0.0, torch::kFanIn, torch::kLinear);
}

torch::Tensor DepthwiseLayer::forward(const torch::Tensor& x) {
  return torch::conv2d(x, weight, {}, stride, 1, 1, weight.size(0));
}

std::shared_ptr<SpatialModule> make_spatial(const std::string& name, int64_t channels, int64_t stride) {
  const auto found = table().find(name);
  if (found == table().end()) {
    throw Error(ErrorCode::kInvalidArgument, "spatial operator " + name, "has no module");
  }
  return found->second(channels, stride);
}

void add_spatial_operator(const SpatialOperator& added, MakeSpatial make) {
  add_spatial_operator(added);
  table()[added.name] = std::move(make);
}

}  // namespace fewshift
