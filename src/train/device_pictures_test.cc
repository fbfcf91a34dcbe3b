// What the device makes of a small set is what the loader makes. SPDX-License-Identifier: Apache-2.0
#include "train/device_pictures.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"
#include "train/evaluate.h"
#include "train/feed.h"

namespace fewshift {
namespace {

class Pictures : public Dataset {
 public:
  explicit Pictures(int side) : side_(side) {}
  size_t size() const override { return 37; }
  int label(size_t index) const override { return static_cast<int>(index % 5); }
  std::string name(size_t index) const override { return std::to_string(index); }
  std::shared_ptr<const Image> image(size_t index) const override {
    if (index == 11) throw Error(ErrorCode::kCorrupt, name(index), "torn");
    Image image;
    image.width = side_ + 2, image.height = side_;
    Random random{index};
    image.pixels.resize(size_t(image.width) * image.height * 3);
    for (uint8_t& p : image.pixels) p = static_cast<uint8_t>(random.below(256));
    return std::make_shared<const Image>(image);
  }

 private:
  int side_;
};

LoaderOptions options_of(int side) {
  LoaderOptions options;
  options.batch = 9, options.seed = 4, options.shuffle = true, options.even = true;
  options.preprocess = default_preprocess(side);
  options.augment.crop = "pad", options.augment.pad = 3, options.augment.flip = true;
  return options;
}

TEST(DevicePictures, AreTheLoaders) {
  for (const int side : {1, 7, 16}) {
    const auto dataset = std::make_shared<Pictures>(side);
    LoaderOptions options = options_of(side);
    const DevicePictures pictures(*dataset, options, torch::kCPU);
    EXPECT_EQ(pictures.broken().size(), 1u);
    Loader loader(dataset, options);
    LoaderOptions numbers = options;
    numbers.images = false;
    Loader numbered(dataset, numbers);
    for (const uint64_t epoch : {0, 3}) {
      loader.start(epoch);
      numbered.start(epoch);
      Batch batch, number;
      size_t batches = 0;
      for (; loader.next(batch); ++batches) {
        ASSERT_TRUE(numbered.next(number));
        EXPECT_TRUE(number.images.empty());
        const auto indices = pictures.usable(number.indices);
        EXPECT_EQ(indices, batch.indices);
        const torch::Tensor made = pictures.batch(indices, epoch);
        EXPECT_TRUE(made.is_contiguous(at::MemoryFormat::ChannelsLast) || side == 1);
        EXPECT_TRUE(torch::equal(made, images_tensor(batch, side))) << side;
      }
      EXPECT_EQ(batches, 5u);
    }
  }
}

TEST(DevicePictures, FitWhereTheyAreSmallAndSimplyAugmented) {
  const Pictures dataset(16);
  LoaderOptions options = options_of(16);
  EXPECT_TRUE(DevicePictures::fits(dataset, options, 1 << 20));
  EXPECT_FALSE(DevicePictures::fits(dataset, options, 1000));
  options.augment.crop = "random_resized";
  EXPECT_FALSE(DevicePictures::fits(dataset, options, 1 << 20));
  options = options_of(16);
  options.augment.rand_augment = 2;
  EXPECT_FALSE(DevicePictures::fits(dataset, options, 1 << 20));
}

TEST(Feed, OnTheCpuIsTheLoader) {
  const auto dataset = std::make_shared<Pictures>(8);
  Feed feed(dataset, options_of(8), torch::kCPU);
  EXPECT_FALSE(feed.on_device());
  Loader loader(dataset, options_of(8));
  feed.start(2, 1);
  loader.start(2, 1);
  Fed fed;
  for (Batch batch; loader.next(batch);) {
    ASSERT_TRUE(feed.next(fed));
    EXPECT_TRUE(torch::equal(fed.images, images_tensor(batch, 8)));
    EXPECT_TRUE(torch::equal(fed.labels, labels_tensor(batch)));
  }
  EXPECT_FALSE(feed.next(fed));
  EXPECT_EQ(feed.broken().size(), 1u);
}

}  // namespace
}  // namespace fewshift
