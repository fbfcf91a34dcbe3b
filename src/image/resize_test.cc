// Resizing against a plain double-precision reference and Pillow; cropping and flipping.
// SPDX-License-Identifier: Apache-2.0
#include "image/resize.h"

#include <algorithm>
#include <cmath>

#include "core/fnv.h"
#include "image/test_support.h"

namespace fewshift {
namespace {

using namespace testing_support;

// Weights of all `input` samples for output `i` of the interval [from, from + length).
std::vector<double> reference_weights(int input, double from, double length, int output, int i,
                                      Interpolation interpolation) {
  const auto filter = [&](double x) {
    if (interpolation == Interpolation::kBilinear) return std::max(0.0, 1 - x);
    if (x < 1) return 1.5 * x * x * x - 2.5 * x * x + 1;
    return x < 2 ? -0.5 * x * x * x + 2.5 * x * x - 4 * x + 2 : 0;
  };
  const double scale = length / output, stretch = std::max(1.0, scale), centre = from + (i + 0.5) * scale;
  std::vector<double> weights(input);
  double sum = 0;
  for (int k = 0; k < input; ++k) {
    weights[k] = filter(std::abs(k + 0.5 - centre) / stretch);
    sum += weights[k];
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

double reference_pixel(const Image& image, const std::vector<double>& across, const std::vector<double>& down,
                       int channel) {
  double sum = 0;
  for (int y = 0; y < image.height; ++y) {
    if (down[y] == 0) continue;
    for (int x = 0; x < image.width; ++x) {
      sum += down[y] * across[x] * image.pixels[(size_t(y) * image.width + x) * 3 + channel];
    }
  }
  return std::clamp(sum, 0.0, 255.0);
}

double worst_error(const Image& image, const Box& box, int width, int height,
                   Interpolation interpolation = Interpolation::kBilinear) {
  const Image out = resize(image, box, width, height, interpolation);
  EXPECT_EQ(out.width, width);
  EXPECT_EQ(out.height, height);
  double worst = 0;
  for (int y = 0; y < height; ++y) {
    const auto down = reference_weights(image.height, box.top, box.height, height, y, interpolation);
    for (int x = 0; x < width; ++x) {
      const auto across = reference_weights(image.width, box.left, box.width, width, x, interpolation);
      for (int c = 0; c < 3; ++c) {
        const double got = out.pixels[(size_t(y) * width + x) * 3 + c];
        worst = std::max(worst, std::abs(got - reference_pixel(image, across, down, c)));
      }
    }
  }
  return worst;
}

Box whole(const Image& image) {
  return {0, 0, double(image.width), double(image.height)};
}

TEST(Resize, MatchesTheReferenceOnRandomShapes) {
  Random random{1};
  for (int round = 0; round < 60; ++round) {
    const auto side = [&] { return int(random.below(40)) + 1; };
    const Image image = noise(side(), side(), round);
    EXPECT_LE(worst_error(image, whole(image), side(), side()), 1.01) << round;
  }
}

TEST(Resize, MatchesTheReferenceOnRandomBoxes) {
  Random random{2};
  for (int round = 0; round < 60; ++round) {
    const Image image = noise(int(random.below(30)) + 2, int(random.below(30)) + 2, round);
    const double w = image.width * random.uniform(0.1, 1), h = image.height * random.uniform(0.1, 1);
    const Box box{(image.width - w) * random.uniform(), (image.height - h) * random.uniform(), w, h};
    EXPECT_LE(worst_error(image, box, int(random.below(20)) + 1, int(random.below(20)) + 1), 1.01) << round;
  }
}

// A cubic overshoots: what the first pass clamps to 0 to 255 the reference does not, so pictures of middling
// contrast are resized.
TEST(Resize, BicubicMatchesTheReferenceOnRandomBoxes) {
  Random random{3};
  for (int round = 0; round < 60; ++round) {
    Image image = noise(int(random.below(30)) + 2, int(random.below(30)) + 2, round);
    for (uint8_t& value : image.pixels) value = uint8_t(80 + value / 3);
    const double w = image.width * random.uniform(0.1, 1), h = image.height * random.uniform(0.1, 1);
    const Box box{(image.width - w) * random.uniform(), (image.height - h) * random.uniform(), w, h};
    const int width = int(random.below(20)) + 1, height = int(random.below(20)) + 1;
    EXPECT_LE(worst_error(image, box, width, height, Interpolation::kBicubic), 1.2) << round;
    EXPECT_LE(worst_error(image, whole(image), width, height, Interpolation::kBicubic), 1.2) << round;
  }
}

// The hashes are of what Pillow 13.0.0 makes of the same pixels.
TEST(Resize, IsPillowsToTheBit) {
  struct Size {
    int width, height, to_width, to_height;
    uint64_t bilinear, bicubic;
  };
  const Size sizes[] = {
      {23, 17, 9, 7, 0x1f19b904d5e2fb94u, 0x10019568eb8f3764u},
      {5, 4, 11, 9, 0xf9cec8e49761a314u, 0xffc40a5014e8f672u},
      {64, 48, 32, 24, 0x1a399196ab37266eu, 0xe6e06f82f1957daau},
      {31, 29, 31, 10, 0x6249e010d2f9f385u, 0x6a14bc71612d8ddbu},
      {40, 3, 7, 90, 0x794864538ae9894eu, 0xb014fef8d170c10eu},
      {301, 211, 224, 157, 0xb9aea8d3a9823cf6u, 0xec7686a54aed23efu},
  };
  for (const Size& s : sizes) {
    Image image{s.width, s.height, {}};
    for (int y = 0; y < s.height; ++y) {
      for (int x = 0; x < s.width; ++x) {
        for (int c = 0; c < 3; ++c)
          image.pixels.push_back(static_cast<uint8_t>(x * 37 + y * 91 + c * 53 + x * y * 13));
      }
    }
    for (const Interpolation how : {Interpolation::kBilinear, Interpolation::kBicubic}) {
      const Image out = resize(image, s.to_width, s.to_height, how);
      const std::string_view bytes(reinterpret_cast<const char*>(out.pixels.data()), out.pixels.size());
      EXPECT_EQ(fnv(bytes), how == Interpolation::kBilinear ? s.bilinear : s.bicubic) << s.width;
    }
  }
}

TEST(Resize, OnePixel) {
  const Image dot = flat(1, 1, 10, 20, 30);
  EXPECT_EQ(difference(resize(dot, 7, 3), flat(7, 3, 10, 20, 30)), 0);
  EXPECT_EQ(difference(resize(flat(50, 70, 9, 8, 7), 1, 1), flat(1, 1, 9, 8, 7)), 0);
  EXPECT_LE(worst_error(noise(31, 17, 4), {0, 0, 31, 17}, 1, 1), 1.01);
}

TEST(Resize, SameSizeIsACopy) {
  const Image image = noise(12, 8, 1);
  EXPECT_EQ(difference(resize(image, 12, 8), image), 0);
}

TEST(Resize, VeryLongPicturesNeedLittleMemory) {
  Image tall{1, 1 << 22, std::vector<uint8_t>(3u << 22, 50)};
  EXPECT_EQ(difference(resize(tall, 64, 64), flat(64, 64, 50, 50, 50)), 0);
  expect_error(ErrorCode::kInvalidArgument, [&] { resize_short_side(tall, 256); });
  expect_error(ErrorCode::kInvalidArgument, [&] { resize(tall, 1, 1); });
}

TEST(Resize, RefusesBoxesOutsideAndEmptySizes) {
  const Image image = noise(10, 10, 1);
  const double nan = std::nan("");
  for (const Box& box :
       {Box{-1, 0, 5, 5}, Box{0, 6, 5, 5}, Box{0, 0, 0, 5}, Box{nan, 0, 5, 5}, Box{0, 0, 5, nan}}) {
    expect_error(ErrorCode::kInvalidArgument, [&] { resize(image, box, 4, 4); });
  }
  expect_error(ErrorCode::kInvalidArgument, [&] { resize(image, 0, 4); });
  expect_error(ErrorCode::kInvalidArgument, [&] { resize(image, 4, -1); });
  expect_error(ErrorCode::kInvalidArgument, [&] { resize(image, 1 << 20, 1 << 20); });
  expect_error(ErrorCode::kInvalidArgument, [&] { resize(Image{}, 4, 4); });
}

TEST(ResizeShortSide, KeepsProportions) {
  const auto size = [](int width, int height, int side) {
    const Image image = resize_short_side(flat(width, height, 1, 2, 3), side);
    return std::pair(image.width, image.height);
  };
  EXPECT_EQ(size(100, 50, 25), std::pair(50, 25));
  EXPECT_EQ(size(50, 100, 25), std::pair(25, 50));
  EXPECT_EQ(size(33, 33, 64), std::pair(64, 64));
  EXPECT_EQ(size(3, 5, 2), std::pair(2, 3));  // 3.33
  EXPECT_EQ(size(300, 301, 2), std::pair(2, 2));
  EXPECT_EQ(size(1, 9, 1), std::pair(1, 9));
}

TEST(Crop, InsideIsExactAndOutsideIsBlack) {
  const Image image = noise(9, 7, 6);
  for (int left : {-12, -3, 0, 4, 8, 20}) {
    for (int top : {-9, -2, 0, 5, 30}) {
      const Image out = crop(image, left, top, 6, 5);
      for (int y = 0; y < 5; ++y) {
        for (int x = 0; x < 6; ++x) {
          const int u = left + x, v = top + y;
          const bool inside = u >= 0 && u < 9 && v >= 0 && v < 7;
          ASSERT_EQ(out.pixels[(y * 6 + x) * 3 + 1], inside ? image.pixels[(v * 9 + u) * 3 + 1] : 0);
        }
      }
    }
  }
  EXPECT_EQ(difference(crop(image, INT32_MAX, INT32_MIN, 2, 2), flat(2, 2, 0, 0, 0)), 0);
  expect_error(ErrorCode::kInvalidArgument, [&] { crop(image, 0, 0, 0, 3); });
}

TEST(FlipHorizontal, MirrorsAndReturns) {
  const Image image = noise(5, 3, 2), flipped = flip_horizontal(image);
  for (int c = 0; c < 3; ++c) EXPECT_EQ(flipped.pixels[(5 + 1) * 3 + c], image.pixels[(5 + 3) * 3 + c]);
  EXPECT_EQ(difference(flip_horizontal(flipped), image), 0);
  EXPECT_EQ(flip_horizontal(Image{}).pixels.size(), 0u);
}

}  // namespace
}  // namespace fewshift
