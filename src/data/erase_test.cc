// The erased rectangle: its area, shape and place.
// SPDX-License-Identifier: Apache-2.0
#include "data/erase.h"

#include <cmath>

#include "image/test_support.h"

namespace fewshift {
namespace {

using namespace testing_support;

struct Erased {
  int top = 0, left = 0, height = 0, width = 0;  // px; all 0 where nothing was erased
};

// Erases in a picture of ones, which must then have one whole rectangle of zeros.
Erased erase(int size, Random random) {
  std::vector<float> picture(size_t(size) * size * 3, 1.0f);
  erase_rectangle(picture.data(), size, random);
  int top = size, left = size, bottom = -1, right = -1, zeros = 0;
  for (int i = 0; i < size * size * 3; ++i) {
    if (picture[i] == 1) continue;
    EXPECT_EQ(picture[i], 0);
    const int y = i / 3 / size, x = i / 3 % size;
    top = std::min(top, y), left = std::min(left, x), bottom = std::max(bottom, y),
    right = std::max(right, x);
    ++zeros;
  }
  if (zeros == 0) return {};
  const Erased erased{top, left, bottom - top + 1, right - left + 1};
  EXPECT_EQ(zeros, erased.height * erased.width * 3);
  return erased;
}

TEST(Erase, AreaAndShapeWithinTheirRanges) {
  constexpr int kSize = 100;
  double least = 1, most = 0, area_sum = 0;
  int tall = 0;
  for (uint64_t key = 0; key < 2000; ++key) {
    const Erased r = erase(kSize, Random{key});
    ASSERT_GT(r.width, 0);
    const double half_a_row = 0.5 * (r.width + r.height) + 0.25,
                 area = r.width * r.height;  // what rounding can do
    EXPECT_GE(area, 0.02 * kSize * kSize - half_a_row);
    EXPECT_LE(area, kSize * kSize / 3.0 + half_a_row);
    EXPECT_GE((r.height + 0.5) / (r.width - 0.5), 0.3);
    EXPECT_LE((r.height - 0.5) / (r.width + 0.5), 3.3);
    least = std::min(least, area), most = std::max(most, area), area_sum += area;
    tall += r.height > r.width;
  }
  EXPECT_LT(least, 0.03 * kSize * kSize);
  EXPECT_GT(most, 0.3 * kSize * kSize);
  EXPECT_NEAR(area_sum / 2000, (0.02 + 1.0 / 3) / 2 * kSize * kSize, 60);
  EXPECT_NEAR(tall, 1000, 120);
}

TEST(Erase, ReachesEveryEdge) {
  int top = 0, left = 0, bottom = 0, right = 0;
  for (uint64_t key = 0; key < 500; ++key) {
    const Erased r = erase(16, Random{key});
    top += r.top == 0, left += r.left == 0, bottom += r.top + r.height == 16, right += r.left + r.width == 16;
  }
  for (int n : {top, left, bottom, right}) EXPECT_NEAR(n, 65, 45);
}

TEST(Erase, SmallPictures) {
  for (uint64_t key = 0; key < 200; ++key) {
    EXPECT_EQ(erase(1, Random{key}).width, 0);
    for (int size : {2, 3, 5}) {
      const Erased r = erase(size, Random{key});
      EXPECT_TRUE(r.width < size && r.height < size);
    }
  }
}

TEST(Erase, SeedAloneDecides) {
  for (uint64_t key = 0; key < 50; ++key) {
    const Erased a = erase(32, Random{key}), b = erase(32, Random{key});
    EXPECT_TRUE(a.top == b.top && a.left == b.left && a.height == b.height && a.width == b.width);
  }
}

}  // namespace
}  // namespace fewshift
