// The planar kernels of every instruction set against sums in double, on random places, displaced and not.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/random.h"
#include "kernels/kernels.h"

namespace fewshift {
namespace {

using Ending = PlanarProduct::Ending;

class PlanarTest : public testing::TestWithParam<int> {
 protected:
  const Kernels& target() const { return all_kernels()[GetParam()]; }
  int lanes() const { return target().lanes; }
  int64_t tiles(int64_t channels) const {  // channels rounded up to whole tiles
    return (channels + target().planar_height - 1) / target().planar_height * target().planar_height;
  }
  int64_t below(int64_t n) { return static_cast<int64_t>(random.below(n)); }
  // Some of all operands, and numbers as they are then; those of the reference are rounded alike.
  PlanarOperands operands() {
    constexpr PlanarOperands kAll[] = {PlanarOperands::kFloat, PlanarOperands::kBf16, PlanarOperands::kPairs};
    return kAll[below(3)];
  }
  static void make(PlanarOperands operands, std::vector<float>& values) {
    if (operands == PlanarOperands::kFloat) return;
    for (float& value : values) value = nearest_bf16(value);
  }
  std::vector<float> normal(int64_t count) {
    std::vector<float> values(count);
    for (float& value : values) value = static_cast<float>(random.normal());
    return values;
  }

  // Some channels in planes with a margin around, and places of vectors in them that overlap nowhere.
  struct Map {
    int64_t channels, plane, margin;
    std::vector<float> values;
    std::vector<int32_t> offsets, vectors;  // offsets: displaced, each by less than the margin
    int lanes = 1, half = 0;                // half: as in PlanarProduct
    int lane(int l) const { return half == 0 || l < lanes / 2 ? l : half + l - lanes / 2; }
    const float* at(int64_t c, int64_t v) const { return values.data() + offsets[c] + vectors[v]; }
  };
  Map map(int64_t channels, int64_t count, bool displaced, bool halves = false) {
    Map m{channels, 0, 20, {}, {}, {}, lanes(), 0};
    if (halves && lanes() > 1) m.half = lanes() / 2 + 1 + static_cast<int>(below(5));
    int64_t at = m.margin;
    for (int64_t v = 0; v < count; ++v, at += lanes() + m.half) {
      if (random.chance(0.2)) at += below(9);  // the end of a row
      m.vectors.push_back(static_cast<int32_t>(at));
    }
    m.plane = at + m.margin;
    m.values = normal(channels * m.plane);
    for (int64_t c = 0; c < channels; ++c)
      m.offsets.push_back(
          static_cast<int32_t>(c * m.plane + (displaced ? below(2 * m.margin) - m.margin : 0)));
    return m;
  }

  Random random{11};
};

INSTANTIATE_TEST_SUITE_P(Targets, PlanarTest, testing::Range(0, static_cast<int>(all_kernels().size())),
                         [](const auto& info) { return std::string(all_kernels()[info.param].isa); });

TEST_P(PlanarTest, Product) {
  for (int round = 0; round < 200; ++round) {
    const int64_t inputs = 1 + below(40), real = 1 + below(30), outputs = tiles(real), count = 1 + below(20);
    const PlanarOperands kind = operands();
    const auto ending = static_cast<Ending>(below(3));
    const bool halves = random.chance(0.3),
               halves_x = halves && ending == Ending::kStore && random.chance(0.5);
    Map x = map(inputs, count, random.chance(0.5), halves_x);
    make(kind, x.values);
    Map y = map(outputs, count, false, halves && !halves_x);
    Map gate = map(outputs, count, true);
    if (y.half != 0) gate.half = y.half, gate.vectors = y.vectors, gate.plane = y.plane;
    if (y.half != 0) gate.values = normal(outputs * gate.plane);
    for (int64_t o = 0; y.half != 0 && o < outputs; ++o)
      gate.offsets[o] = static_cast<int32_t>(o * gate.plane + below(2 * gate.margin) - gate.margin);
    const std::vector<float> before = y.values, bias = normal(outputs);
    std::vector<float> weight = normal(real * inputs);
    AlignedFloats packed(outputs * inputs);
    pack_planar(weight.data(), real, inputs, inputs, 1, target().planar_height, kind, packed.data());
    make(kind, weight);
    std::vector<float> masks(count * lanes()), sums(outputs * lanes(), 0.5f);
    for (float& mask : masks) mask = random.chance(0.7) ? 1.0f : 0.0f;
    PlanarProduct a;
    a.ending = ending, a.x_half = x.half, a.y_half = y.half;
    a.x = x.values.data(), a.x_offsets = x.offsets.data(), a.x_vectors = x.vectors.data();
    a.weights = packed.data(), a.operands = kind;
    a.rounds = random.chance(0.3);
    a.adds = random.chance(0.3);
    a.bias = bias.data();
    a.y = y.values.data(), a.y_plane = y.plane, a.y_vectors = y.vectors.data();
    a.masks = random.chance(0.5) ? masks.data() : nullptr;
    a.gate = gate.values.data(), a.gate_offsets = gate.offsets.data(), a.gate_vectors = gate.vectors.data();
    a.sums = sums.data();
    a.inputs = inputs, a.outputs = outputs, a.vectors = count;
    target().planar_product(a);
    std::vector<float> expected = before;
    for (int64_t o = 0; o < outputs; ++o) {
      double total = 0.5 * lanes(), size = 0;
      for (int64_t v = 0; v < count; ++v) {
        for (int l = 0; l < lanes(); ++l) {
          const int64_t place = o * y.plane + y.vectors[v] + y.lane(l);
          double sum = a.ending == Ending::kRelu              ? bias[o]
                       : a.ending == Ending::kStore && a.adds ? before[place]
                                                              : 0;
          for (int64_t k = 0; k < inputs; ++k)
            sum += o < real ? double(weight[o * inputs + k]) * x.at(k, v)[x.lane(l)] : 0;
          if (a.ending == Ending::kRelu) sum = std::max(sum, 0.0) * (a.masks ? masks[v * lanes() + l] : 1);
          if (a.ending == Ending::kMask && !(gate.at(o, v)[gate.lane(l)] > 0)) sum = 0;
          expected[place] = static_cast<float>(sum);
          total += sum, size += std::abs(sum);
        }
      }
      if (a.ending != Ending::kMask) continue;
      double got = 0;
      for (int l = 0; l < lanes(); ++l) got += sums[o * lanes() + l];
      const double most = a.rounds ? 0x1p-8 * size : 0;
      ASSERT_NEAR(got, total, most + 2e-4 * (1 + std::abs(total))) << target().isa;
    }
    for (size_t k = 0; k < expected.size(); ++k) {
      const double most = a.rounds ? 0x1p-8 * std::abs(expected[k]) : 0;
      ASSERT_NEAR(y.values[k], expected[k], most + 3e-5 * (1 + std::abs(expected[k])))
          << target().isa << " " << k;
      if (a.rounds && expected[k] != before[k]) {
        ASSERT_EQ(y.values[k], nearest_bf16(y.values[k])) << target().isa;
      }
    }
  }
}

TEST_P(PlanarTest, Dots) {
  for (int round = 0; round < 200; ++round) {
    const int64_t rows = tiles(1 + below(20)), columns = 1 + below(20), count = 1 + below(40);
    Map a = map(rows, count, false);
    Map b = map(columns, count, random.chance(0.5), random.chance(0.3));
    PlanarDots args;
    args.operands = operands();
    make(args.operands, a.values), make(args.operands, b.values);
    for (int64_t v = 0; v < count; ++v) a.vectors[v] = static_cast<int32_t>(a.margin + v * lanes());
    const int64_t column = rows + below(5);
    std::vector<float> out = normal(columns * column), expected = out;
    args.a = a.at(0, 0), args.a_plane = a.plane;
    args.b_half = b.half;
    args.b = b.values.data(), args.b_offsets = b.offsets.data(), args.b_vectors = b.vectors.data();
    args.out = out.data(), args.out_column = column;
    args.rows = rows, args.columns = columns, args.vectors = count;
    std::vector<float> pairs;
    if (args.operands == PlanarOperands::kPairs) {
      args.a_plane = (count + 1) / 2 * lanes();
      pairs.resize(rows * args.a_plane);
      for (int64_t i = 0; i < rows; ++i) target().planar_pair(a.at(i, 0), count, &pairs[i * args.a_plane]);
      args.a = pairs.data();
    }
    target().planar_dots(args);
    for (int64_t j = 0; j < columns; ++j) {
      for (int64_t i = 0; i < rows; ++i) {
        double sum = expected[j * column + i];
        for (int64_t v = 0; v < count; ++v) {
          for (int l = 0; l < lanes(); ++l) sum += double(a.at(i, v)[l]) * b.at(j, v)[b.lane(l)];
        }
        expected[j * column + i] = static_cast<float>(sum);
      }
    }
    for (size_t k = 0; k < out.size(); ++k)
      ASSERT_NEAR(out[k], expected[k], 1e-4 * (1 + std::abs(expected[k]))) << target().isa << " " << k;
  }
}

TEST_P(PlanarTest, Taps) {
  for (int round = 0; round < 100; ++round) {
    const int64_t count = 1 + below(40);
    const Map z = map(1, count, false, random.chance(0.3));
    Map g = z;
    g.values = normal(z.plane);
    const std::vector<int32_t>& places = z.vectors;
    const std::vector<float> before = g.values;
    const int kinds[] = {0, 4, 6, 9};
    PlanarTaps a;
    a.taps = kinds[below(4)];
    for (int32_t& offset : a.offsets) offset = static_cast<int32_t>(below(2 * z.margin) - z.margin);
    a.gated = a.taps == 0 || random.chance(0.5);
    a.gate = static_cast<int32_t>(below(2 * z.margin) - z.margin);
    a.g = g.values.data(), a.z = z.values.data(), a.places = places.data();
    a.vectors = count, a.half = z.half;
    target().planar_taps(a);
    double dots[PlanarTaps::kMost] = {}, sum = 0;
    for (int64_t v = 0; v < count; ++v) {
      for (int l = 0; l < lanes(); ++l) {
        const int64_t place = places[v] + z.lane(l);
        const float value = before[place], *const at = z.values.data() + place;
        for (int t = 0; t < a.taps; ++t) dots[t] += double(value) * at[a.offsets[t]];
        const float left = a.gated && !(at[a.gate] > 0) ? 0 : value;
        EXPECT_EQ(g.values[place], left) << target().isa;
        sum += left;
      }
    }
    for (int t = 0; t < a.taps; ++t)
      EXPECT_NEAR(a.dots[t], dots[t], 1e-4 * (1 + std::abs(dots[t]))) << target().isa;
    if (a.gated) {
      EXPECT_NEAR(a.sum, sum, 1e-4 * (1 + std::abs(sum))) << target().isa;
    }
  }
}

// Rows of whole vectors in maps with margins, as the displacement's gradient reads them.
TEST_P(PlanarTest, Corners) {
  for (int round = 0; round < 100; ++round) {
    const int64_t maps = 1 + below(3), rows = 1 + below(6), row_vectors = 1 + below(3),
                  pitch = row_vectors * lanes() + below(4), map_floats = (rows + 3) * pitch;
    std::vector<int32_t> places;
    const int64_t reach = 3 * pitch + 8;
    for (int64_t k = 0; k < maps * rows * row_vectors; ++k)
      places.push_back(static_cast<int32_t>(reach + k / (rows * row_vectors) * map_floats +
                                            k / row_vectors % rows * pitch + k % row_vectors * lanes()));
    const std::vector<float> z = normal(2 * reach + maps * map_floats), before = normal(z.size());
    std::vector<float> g = before;
    PlanarTaps a;
    a.taps = 4, a.gated = true;
    const auto corner = static_cast<int32_t>((below(3) - 1) * pitch + below(5) - 2);
    const auto step = static_cast<int32_t>(pitch);
    const int32_t corners[] = {corner, corner + 1, corner + step, corner + step + 1};
    std::copy_n(corners, 4, a.offsets);
    a.gate = random.chance(0.8) ? corners[below(4)] : corner - 1;
    a.row_vectors = row_vectors, a.rows = rows, a.pitch = step;
    a.g = g.data(), a.z = z.data(), a.places = places.data(), a.vectors = static_cast<int64_t>(places.size());
    target().planar_taps(a);
    double dots[4] = {}, sum = 0;
    std::vector<float> expected = before;
    for (int32_t place : places) {
      for (int l = 0; l < lanes(); ++l) {
        float& value = expected[place + l];
        for (int t = 0; t < 4; ++t) dots[t] += double(value) * z[place + l + corners[t]];
        if (!(z[place + l + a.gate] > 0)) value = 0;
        sum += value;
      }
    }
    EXPECT_EQ(g, expected) << target().isa;
    for (int t = 0; t < 4; ++t)
      EXPECT_NEAR(a.dots[t], dots[t], 1e-4 * (1 + std::abs(dots[t]))) << target().isa;
    EXPECT_NEAR(a.sum, sum, 1e-4 * (1 + std::abs(sum))) << target().isa;
  }
}

TEST_P(PlanarTest, Sample) {
  for (int round = 0; round < 100; ++round) {
    const int64_t count = 1 + below(40);
    const Map x = map(1, count, false, random.chance(0.4));
    Map y = map(1, count, false);
    if (x.half != 0 && random.chance(0.5)) y = x;
    PlanarSample a;
    a.x_half = x.half, a.y_half = y.half;
    a.taps = 1 + static_cast<int>(below(9));
    for (int t = 0; t < a.taps; ++t) {
      a.offsets[t] = static_cast<int32_t>(below(2 * x.margin) - x.margin);
      a.weights[t] = static_cast<float>(random.normal());
    }
    a.x = x.values.data(), a.x_vectors = x.vectors.data();
    a.y = y.values.data(), a.y_vectors = y.vectors.data();
    a.vectors = count;
    std::vector<float> expected = y.values;
    target().planar_sample(a);
    for (int64_t v = 0; v < count; ++v) {
      for (int l = 0; l < lanes(); ++l) {
        double sum = 0;
        for (int t = 0; t < a.taps; ++t)
          sum += double(a.weights[t]) * x.values[x.vectors[v] + x.lane(l) + a.offsets[t]];
        expected[y.vectors[v] + y.lane(l)] = static_cast<float>(sum);
      }
    }
    for (size_t k = 0; k < expected.size(); ++k)
      ASSERT_NEAR(y.values[k], expected[k], 1e-5 * (1 + std::abs(expected[k]))) << target().isa;
  }
}

TEST_P(PlanarTest, Round) {
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> values = normal(16 * lanes());
  values[0] = 1 + 0x1p-8f, values[1] = -1 - 3 * 0x1p-8f;  // halves
  values[2] = infinity, values[3 % values.size()] = 0;
  const std::vector<float> before = values;
  target().planar_round(values.data(), static_cast<int64_t>(values.size()));
  EXPECT_EQ(values[0], 1 + 0x1p-7f);
  EXPECT_EQ(values[1], -1 - 2 * 0x1p-7f);
  for (size_t k = 0; k < values.size(); ++k) {
    ASSERT_EQ(values[k], nearest_bf16(before[k])) << target().isa;
    if (before[k] == infinity) continue;
    ASSERT_LE(std::abs(values[k] - before[k]), 0x1p-8f * std::abs(before[k])) << target().isa;
    ASSERT_EQ(std::bit_cast<uint32_t>(values[k]) & 0xFFFF, 0u) << target().isa;
  }
}

TEST_P(PlanarTest, KeepAndRestore) {
  for (int round = 0; round < 100; ++round) {
    const int64_t channels = 1 + below(5), count = 1 + below(20);
    Map map_ = map(channels, count, false, random.chance(0.3));
    map_.values[below(map_.values.size())] = std::numeric_limits<float>::infinity();
    const std::vector<float> before = map_.values;
    PlanarCopy a;
    a.planes = map_.values.data(), a.plane = map_.plane, a.places = map_.vectors.data();
    a.channels = channels, a.vectors = count, a.half = map_.half;
    a.bf16 = random.chance(0.5);
    AlignedFloats kept(channels * count * lanes());
    a.kept = kept.data();
    target().planar_keep(a);
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t v = 0; v < count; ++v) {
        for (int l = 0; l < lanes(); ++l) map_.values[c * map_.plane + map_.vectors[v] + map_.lane(l)] = 7.0f;
      }
    }
    target().planar_restore(a);
    for (size_t k = 0; k < before.size(); ++k) {
      float expected = before[k];
      if (a.bf16 &&
          map_.values[k] != before[k]) {  // the nearer neighbour of those with 8 bits, an even one at half
        int exponent = 0;
        const double scaled = std::ldexp(std::frexp(double(before[k]), &exponent), 8);
        expected = static_cast<float>(std::ldexp(std::nearbyint(scaled), exponent - 8));
      }
      ASSERT_EQ(map_.values[k], expected) << target().isa << " " << k;
    }
  }
}

}  // namespace
}  // namespace fewshift
