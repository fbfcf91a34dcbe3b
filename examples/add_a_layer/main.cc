// A spatial operator of one's own: a depthwise convolution of 3x1 and one of 1x3 behind it, 6 weights a
// channel where depthwise 3x3 has 9. The program is `fewshift` with one more choice of --shift;
// docs/adding_a_layer.md explains it. SPDX-License-Identifier: Apache-2.0
#include "cli/program.h"
#include "nn/spatial.h"

namespace {

using namespace fewshift;

// [N,C,H,W] -> [N,C,ceil(H/stride),ceil(W/stride)]
struct Separable : SpatialModule {
  Separable(int64_t channels, int64_t stride) {
    column = register_module("column", part(channels, 3, 1, stride));
    row = register_module("row", part(channels, 1, 3, 1));
  }
  torch::Tensor forward(const torch::Tensor& x) override { return row(column(x)); }

  static torch::nn::Conv2d part(int64_t channels, int64_t height, int64_t width, int64_t stride) {
    return torch::nn::Conv2d(torch::nn::Conv2dOptions(channels, channels, {height, width})
                                 .stride(stride)
                                 .padding({height / 2, width / 2})
                                 .groups(channels)
                                 .bias(false));
  }
  torch::nn::Conv2d column{nullptr}, row{nullptr};
};

}  // namespace

int main(int argc, char** argv) {
  SpatialOperator separable;
  separable.name = "separable";      // --shift separable
  separable.kind = "separable 3x3";  // what inspect calls it
  separable.layer = "separable";     // its parameters are units.0.separable.column.weight and so on
  separable.help = "a depthwise 3x1 and a depthwise 1x3 convolution";
  separable.channel_params = 6;
  separable.pixel_madds = 6;
  add_spatial_operator(separable, [](int64_t channels, int64_t stride) {
    return std::make_shared<Separable>(channels, stride);
  });
  return cli::program(argc, argv);
}
