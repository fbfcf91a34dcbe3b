// Every target's kernels against the plain ones, on random shapes, displacements and strides. Whole buffers
// are compared: nothing may be written beside a map. SPDX-License-Identifier: Apache-2.0
#include "kernels/kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "core/random.h"

namespace fewshift {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> normal(int64_t count, Random& random) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random.normal());
  return values;
}

// A map in blocks of `lanes` within margins, all of it random.
struct Map {
  Map(int64_t blocks_, int64_t height_, int64_t width_, int64_t margin_, int lanes_, Random& random)
      : blocks(blocks_),
        height(height_),
        width(width_),
        margin(margin_),
        lanes(lanes_),
        row((width + 2 * margin) * lanes),
        block((height + 2 * margin) * row),
        values(normal(blocks * block, random)) {}
  float* origin() { return values.data() + margin * (row + lanes); }
  int64_t blocks, height, width, margin, lanes, row, block;
  std::vector<float> values;
};

class KernelsTest : public testing::TestWithParam<int> {
 protected:
  const Kernels& target() const { return all_kernels()[GetParam()]; }
  int lanes() const { return target().lanes; }
  int64_t below(int64_t n) { return static_cast<int64_t>(random.below(n)); }
  Map map(int64_t blocks, int64_t height, int64_t width, int64_t margin = 3) {
    return {blocks, height, width, margin, lanes(), random};
  }

  // Runs a kernel and its reference into copies of y, in two parts, and compares.
  template <class Args>
  void compare(void (*Kernels::*kernel)(const Args&, const Part&), Args args, Map y) {
    Map plain = y;
    const Kernels reference = reference_kernels(lanes());
    const int64_t block = below(y.blocks + 1), rows = below(y.height + 1);
    auto run = [&](const Kernels& with, Map& to) {
      args.y = to.origin();
      in_place(args, to);
      for (const auto& [b0, b1] : {std::pair<int64_t, int64_t>{0, block}, {block, y.blocks}}) {
        for (const auto& [i0, i1] : {std::pair<int64_t, int64_t>{0, rows}, {rows, y.height}}) {
          if (b0 < b1 && i0 < i1) (with.*kernel)(args, {b0, b1, i0, i1});
        }
      }
    };
    run(target(), y);
    run(reference, plain);
    for (size_t k = 0; k < y.values.size(); ++k) {
      ASSERT_NEAR(y.values[k], plain.values[k], 2e-5 * (1 + std::abs(plain.values[k])))
          << target().isa << " " << k;
    }
  }
  template <class Args>
  void in_place(Args&, Map&) {}
  void in_place(Pointwise& args, Map& y) {
    if (adds_to_itself) args.residual = y.origin();
  }

  Random random{1};
  bool adds_to_itself = false;
};

TEST_P(KernelsTest, Pointwise) {
  for (int round = 0; round < 150; ++round) {
    const int64_t stride = 1 + below(3), height = 1 + below(9), width = 1 + below(40);
    const int64_t inputs = 1 + below(below(10) == 0 ? 700 : 50), outputs = 1 + below(16 * lanes()),
                  first = below(lanes());
    Map x = map((inputs + lanes() - 1) / lanes(), stride * (height - 1) + 1, stride * (width - 1) + 1);
    std::vector<int32_t> offsets;
    for (int64_t k = 0; k < inputs; ++k) {
      offsets.push_back(static_cast<int32_t>(k / lanes() * x.block + k % lanes() + (below(7) - 3) * x.row +
                                             (below(7) - 3) * lanes()));
    }
    std::vector<int64_t> all(inputs), rows(outputs);
    std::iota(all.begin(), all.end(), 0);
    std::iota(rows.begin(), rows.end(), 0);
    std::vector<float> weight = normal(outputs * inputs, random);  // for sums of about one
    for (float& w : weight) w /= std::sqrt(static_cast<float>(inputs));
    AlignedFloats weights;
    pack_pointwise(weight.data(), inputs, rows, all, lanes(), static_cast<int>(first), weights);
    const int64_t blocks = (first + outputs + lanes() - 1) / lanes();
    const auto bias = normal(blocks * lanes(), random);
    Map y = map(blocks, height, width, below(2)), residual = y;
    residual.values = normal(static_cast<int64_t>(y.values.size()), random);
    Pointwise args;
    args.x = x.origin();
    args.offsets = offsets.data();
    args.inputs = inputs;
    args.x_row = stride * x.row;
    args.x_pixel = stride * lanes();
    args.weights = weights.data();
    args.bias = bias.data();
    if (random.chance(0.4)) args.residual = residual.origin();
    adds_to_itself = random.chance(0.3);
    args.columns = width;
    args.y_row = y.row;
    args.y_block = y.block;
    args.low = random.chance(0.5) ? 0 : -kInfinity;
    args.high = random.chance(0.3) ? 1.5f : kInfinity;
    compare(&Kernels::pointwise, args, y);
  }
}

TEST_P(KernelsTest, PointwiseLeavesLanesWithoutAnOutputToTheResidual) {
  AlignedFloats packed(1, 5.0f);
  const std::vector<float> weight{1, 2, 3, 4, 5, 6, 7, 8, 9};
  EXPECT_EQ(pack_pointwise(weight.data(), 3, {1, 0, 2}, {0, 2}, 4, 2, packed), 1);
  EXPECT_EQ(packed, (AlignedFloats{5, 0, 0, 4, 1, 0, 0, 6, 3, 7, 0, 0, 0, 9, 0, 0, 0}));
}

TEST_P(KernelsTest, ANumberThatIsNoneStaysOne) {
  Map x = map(1, 1, 3), y = map(1, 1, 3);
  x.origin()[0] = std::numeric_limits<float>::quiet_NaN();
  const AlignedFloats weights(lanes(), 1.0f), bias(lanes(), 0.0f);
  const int32_t offset = 0;
  Pointwise args;
  args.x = x.origin(), args.offsets = &offset, args.inputs = 1;
  args.x_row = x.row, args.x_pixel = lanes();
  args.weights = weights.data(), args.bias = bias.data();
  args.y = y.origin(), args.columns = 3, args.y_row = y.row, args.y_block = y.block;
  args.low = 0, args.high = 6;
  target().pointwise(args, {0, 1, 0, 1});
  EXPECT_TRUE(std::isnan(y.origin()[0])) << target().isa;
  EXPECT_FALSE(std::isnan(y.origin()[lanes()])) << target().isa;
}

TEST_P(KernelsTest, TheGreatestOfAWindowWithNanIsNan) {
  Map x = map(1, 2, 6), y = map(1, 1, 3);
  x.origin()[0] = std::numeric_limits<float>::quiet_NaN();                    // first of its window
  x.origin()[x.row + 5 * lanes()] = std::numeric_limits<float>::quiet_NaN();  // last
  Pool args;
  args.max = true;
  args.x = x.origin(), args.x_rows = 2, args.x_columns = 6, args.x_row = x.row, args.x_block = x.block;
  args.y = y.origin(), args.columns = 3, args.y_row = y.row, args.y_block = y.block;
  target().pool(args, {0, 1, 0, 1});
  for (int j = 0; j < 3; ++j) EXPECT_EQ(std::isnan(y.origin()[j * lanes()]), j != 1) << target().isa << j;
}

TEST_P(KernelsTest, Depthwise) {
  for (int round = 0; round < 150; ++round) {
    const int64_t kernel = 1 + below(6), stride = 1 + below(3), dilation = 1 + below(2);
    const int64_t height = 1 + below(6), width = 1 + below(40), blocks = 1 + below(3);
    const bool square = kernel > 1 && kernel % 2 && dilation == 1 && stride < 3;
    Map x = map(blocks, stride * (height - 1) + 1, stride * (width - 1) + 1, dilation * kernel);
    std::vector<int32_t> taps;
    for (int64_t k = 0; k < kernel; ++k) {
      for (int64_t l = 0; l < kernel; ++l)
        taps.push_back(static_cast<int32_t>((k * dilation - kernel / 2) * x.row +
                                            (l * dilation - kernel / 2) * lanes()));
    }
    const auto count = static_cast<int64_t>(taps.size());
    const auto weights = normal(blocks * count * lanes(), random), bias = normal(blocks * lanes(), random);
    Map y = map(blocks, height, width, below(2));
    Depthwise args;
    args.x = x.origin();
    args.taps = taps.data();
    args.tap_count = count;
    if (square) args.kernel = kernel, args.stride = stride, args.tap_row = x.row;
    args.x_row = stride * x.row;
    args.x_pixel = stride * lanes();
    args.x_block = x.block;
    args.weights = weights.data();
    args.bias = bias.data();
    args.columns = width;
    args.y_row = y.row;
    args.y_block = y.block;
    args.low = random.chance(0.5) ? 0 : -kInfinity;
    args.high = random.chance(0.3) ? 1.5f : kInfinity;
    compare(&Kernels::depthwise, args, y);
  }
}

TEST_P(KernelsTest, Pool) {
  for (int round = 0; round < 150; ++round) {
    Pool args;
    args.max = random.chance(0.5);
    args.kernel_y = 1 + below(3), args.kernel_x = 1 + below(3);
    args.stride_y = 1 + below(2), args.stride_x = 1 + below(2);
    if (random.chance(0.3))
      args.max = false, args.kernel_y = args.kernel_x = args.stride_y = args.stride_x = 2;
    args.pad_y = below(args.kernel_y), args.pad_x = below(args.kernel_x);
    Map x = map(1 + below(3), args.kernel_y + below(8), args.kernel_x + below(30));
    const int64_t end_y = below(args.kernel_y), end_x = below(args.kernel_x);  // padding behind
    Map y = map(x.blocks, (x.height + args.pad_y + end_y - args.kernel_y) / args.stride_y + 1,
                (x.width + args.pad_x + end_x - args.kernel_x) / args.stride_x + 1, below(2));
    args.x = x.origin();
    args.x_rows = x.height, args.x_columns = x.width;
    args.x_row = x.row, args.x_block = x.block;
    args.columns = y.width;
    args.y_row = y.row, args.y_block = y.block;
    compare(&Kernels::pool, args, y);
  }
}

TEST_P(KernelsTest, GlobalAverage) {
  for (int round = 0; round < 30; ++round) {
    Map x = map(1 + below(4), 1 + below(9), 1 + below(9)), y = map(x.blocks, 1, 1, below(2));
    GlobalAverage args;
    args.x = x.origin();
    args.x_rows = x.height, args.x_columns = x.width;
    args.x_row = x.row, args.x_block = x.block;
    args.y_block = y.block;
    compare(&Kernels::global_average, args, y);
  }
}

TEST_P(KernelsTest, Unary) {
  for (auto function :
       {ElementFunction::kClamp, ElementFunction::kSigmoid, ElementFunction::kErf, ElementFunction::kGelu,
        ElementFunction::kHardSigmoid, ElementFunction::kHardSwish, ElementFunction::kSwish}) {
    for (int round = 0; round < 10; ++round) {
      Map x = map(1 + below(3), 1 + below(5), 1 + below(20)), y = map(x.blocks, x.height, x.width, below(2));
      for (float& value : x.values) value *= round == 0 ? 100.0f : 3.0f;
      Unary args;
      args.function = function;
      args.low = -1, args.high = 2;
      args.x = x.origin();
      args.x_row = x.row, args.x_block = x.block;
      args.columns = y.width;
      args.y_row = y.row, args.y_block = y.block;
      compare(&Kernels::unary, args, y);
    }
  }
}

TEST_P(KernelsTest, BinaryAndAffine) {
  for (int round = 0; round < 40; ++round) {
    Map a = map(1 + below(3), 1 + below(5), 1 + below(20)), b = map(a.blocks, a.height, a.width, 1),
        y = map(a.blocks, a.height, a.width, below(2));
    Binary args;
    args.multiply = random.chance(0.5);
    args.a = a.origin(), args.b = b.origin();
    args.a_row = a.row, args.a_block = a.block, args.b_row = b.row, args.b_block = b.block;
    args.columns = y.width;
    args.y_row = y.row, args.y_block = y.block;
    args.low = random.chance(0.5) ? 0 : -kInfinity, args.high = kInfinity;
    compare(&Kernels::binary, args, y);

    const auto scale = normal(2 * a.blocks * lanes(), random), shift = normal(a.blocks * lanes(), random);
    Affine line;
    if (random.chance(0.7)) line.scale = scale.data(), line.scale_block = 2 * lanes();
    if (random.chance(0.7)) line.shift = shift.data(), line.shift_block = lanes();
    line.x = a.origin();
    line.x_row = a.row, line.x_block = a.block;
    line.columns = y.width;
    line.y_row = y.row, line.y_block = y.block;
    line.low = args.low, line.high = kInfinity;
    compare(&Kernels::affine, line, y);
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, KernelsTest, testing::Range(0, static_cast<int>(all_kernels().size())),
                         [](const auto& info) { return std::string(all_kernels()[info.param].isa); });

TEST(KernelTable, TheBestTargetIsFirst) {
  ASSERT_FALSE(all_kernels().empty());
  for (size_t k = 1; k < all_kernels().size(); ++k)
    EXPECT_GE(all_kernels()[k - 1].lanes, all_kernels()[k].lanes);
}

}  // namespace
}  // namespace fewshift
