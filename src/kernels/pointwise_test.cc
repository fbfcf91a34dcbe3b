// Every target's pointwise convolution against the plain one, on random shapes, displacements and strides.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/random.h"
#include "kernels/kernels.h"

namespace fewshift {
namespace {

std::vector<float> normal(int64_t count, Random& random) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random.normal());
  return values;
}

// A map in blocks of `lanes` with a margin of `margin` px; where pixel (0,0) of block 0 stands.
struct Map {
  Map(int64_t channels, int64_t height, int64_t width, int64_t margin_, int lanes_)
      : margin(margin_),
        lanes(lanes_),
        pitch(width + 2 * margin),
        rows(height + 2 * margin),
        block(rows * pitch * lanes),
        values((channels + lanes - 1) / lanes * block, 0.0f) {}
  float* origin() { return values.data() + (margin * pitch + margin) * lanes; }
  int64_t place(int64_t c, int64_t i, int64_t j) const {
    return c / lanes * block + (i * pitch + j) * lanes + c % lanes;
  }
  int64_t margin, lanes, pitch, rows, block;
  std::vector<float> values;
};

void compare(const Kernels& kernels, Random& random) {
  const int lanes = kernels.lanes, width = lanes * kernels.tile_blocks;
  const int64_t stride = 1 + random.below(3), margin = random.below(4);
  const int64_t height = 1 + random.below(9), columns = 1 + random.below(40);
  const int64_t inputs = 1 + random.below(50), outputs = 1 + random.below(70);
  Map x(inputs, stride * (height - 1) + 1, stride * (columns - 1) + 1, margin, lanes);
  for (int64_t k = 0; k < inputs; ++k) {
    for (int64_t i = 0; i <= stride * (height - 1); ++i) {
      for (int64_t j = 0; j <= stride * (columns - 1); ++j)
        x.origin()[x.place(k, i, j)] = static_cast<float>(random.normal());
    }
  }
  std::vector<int32_t> offsets(inputs);
  for (int64_t k = 0; k < inputs; ++k) {
    const int64_t dy = static_cast<int64_t>(random.below(2 * margin + 1)) - margin,
                  dx = static_cast<int64_t>(random.below(2 * margin + 1)) - margin;
    offsets[k] = static_cast<int32_t>(x.place(k, dy, dx));
  }
  const std::vector<float> weights =
      pack_pointwise(normal(outputs * inputs, random).data(), outputs, inputs, width);
  const std::vector<float> bias = normal((outputs + width - 1) / width * width, random);
  Map ours(outputs, height, columns, 1, lanes), plain = ours, residual = ours;
  residual.values = normal(static_cast<int64_t>(ours.values.size()), random);
  const bool relu = random.chance(0.5), adds = random.chance(0.5), in_place = random.chance(0.5);
  if (adds && in_place) ours.values = plain.values = residual.values;

  Pointwise args;
  args.x = x.origin();
  args.offsets = offsets.data();
  args.inputs = inputs;
  args.weights = weights.data();
  args.bias = bias.data();
  args.blocks = (outputs + lanes - 1) / lanes;
  args.columns = columns;
  args.x_row = stride * x.pitch * lanes;
  args.x_pixel = stride * lanes;
  args.y_row = ours.pitch * lanes;
  args.y_block = ours.block;
  args.low = relu ? 0 : -std::numeric_limits<float>::infinity();
  args.high = random.chance(0.3) ? 1.5f : std::numeric_limits<float>::infinity();
  auto run = [&](const Kernels& with, Map& y) {
    args.y = y.origin();
    args.residual = !adds ? nullptr : in_place ? args.y : residual.origin();
    const int64_t middle = random.below(height + 1);
    with.pointwise(args, 0, middle);
    with.pointwise(args, middle, height);
  };
  run(kernels, ours);
  run(reference_kernels(lanes, kernels.tile_blocks), plain);
  for (size_t k = 0; k < ours.values.size(); ++k) {  // margins too: nothing is written beside the map
    ASSERT_NEAR(ours.values[k], plain.values[k], 1e-4) << kernels.isa << " " << k;
  }
}

TEST(PointwiseKernel, EveryTargetIsTheReference) {
  for (const Kernels& kernels : all_kernels()) {
    Random random{1};
    for (int k = 0; k < 150; ++k) compare(kernels, random);
  }
}

TEST(PointwiseKernel, TheBestTargetIsChosen) {
  ASSERT_FALSE(all_kernels().empty());
  for (size_t k = 1; k < all_kernels().size(); ++k) {
    EXPECT_GE(all_kernels()[k - 1].lanes, all_kernels()[k].lanes);
  }
}

}  // namespace
}  // namespace fewshift
