// Batches: the same whatever the number of workers, complete, restartable, and honest about broken pictures.
// SPDX-License-Identifier: Apache-2.0
#include "data/loader.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <set>
#include <thread>

#include "image/test_support.h"

namespace fewshift {
namespace {

using namespace testing_support;

class Pictures : public Dataset {
 public:
  explicit Pictures(size_t size, std::set<size_t> broken = {}) : size_(size), broken_(std::move(broken)) {}
  size_t size() const override { return size_; }
  int label(size_t index) const override { return int(index % 7); }
  std::string name(size_t index) const override { return "picture " + std::to_string(index); }
  std::shared_ptr<const Image> image(size_t index) const override {
    if (index == strange) throw std::runtime_error("strange");
    if (broken_.count(index)) throw Error(ErrorCode::kCorrupt, name(index), "torn");
    if (slow && index % 3 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    return std::make_shared<const Image>(noise(9, 8, index));
  }
  bool slow = false;
  size_t strange = SIZE_MAX;

 private:
  size_t size_;
  std::set<size_t> broken_;
};

LoaderOptions options_of(int batch, int workers, bool shuffle = true) {
  LoaderOptions options;
  options.batch = batch;
  options.workers = workers;
  options.seed = 11;
  options.shuffle = shuffle;
  options.augment = {.crop = "pad", .pad = 1, .flip = true, .colour_jitter = 0.2};
  options.preprocess = default_preprocess(6);
  return options;
}

std::vector<Batch> rest_of(Loader& loader) {
  std::vector<Batch> batches;
  Batch batch;
  while (loader.next(batch)) {
    EXPECT_GT(batch.size, 0);
    EXPECT_EQ(batch.images.size(), size_t(batch.size) * 6 * 6 * 3);
    EXPECT_EQ(batch.labels.size(), size_t(batch.size));
    EXPECT_EQ(batch.indices.size(), size_t(batch.size));
    batches.push_back(batch);
  }
  EXPECT_FALSE(loader.next(batch));
  return batches;
}

std::vector<Batch> epoch_of(Loader& loader, uint64_t epoch, size_t first = 0) {
  loader.start(epoch, first);
  return rest_of(loader);
}

void expect_same(const std::vector<Batch>& a, const std::vector<Batch>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].images, b[i].images);
    EXPECT_EQ(a[i].labels, b[i].labels);
    EXPECT_EQ(a[i].indices, b[i].indices);
  }
}

std::vector<size_t> indices_of(const std::vector<Batch>& batches) {
  std::vector<size_t> all;
  for (const Batch& batch : batches) all.insert(all.end(), batch.indices.begin(), batch.indices.end());
  return all;
}

TEST(Loader, SameForAnyNumberOfWorkers) {
  const auto pictures = std::make_shared<Pictures>(53, std::set<size_t>{3, 40});
  pictures->slow = true;
  Loader one(pictures, options_of(4, 1));
  const auto expected = epoch_of(one, 2);
  for (int workers : {2, 3, 8}) {
    Loader loader(pictures, options_of(4, workers));
    expect_same(epoch_of(loader, 2), expected);
    EXPECT_EQ(loader.broken(), one.broken());
  }
}

TEST(Loader, EveryPictureOnceInAnOrderBySeedAndEpoch) {
  const auto pictures = std::make_shared<Pictures>(30);
  Loader loader(pictures, options_of(8, 2));
  const auto first = indices_of(epoch_of(loader, 0)), second = indices_of(epoch_of(loader, 1));
  EXPECT_NE(first, second);
  EXPECT_EQ(first, indices_of(epoch_of(loader, 0)));
  EXPECT_EQ(std::set(first.begin(), first.end()).size(), 30u);
  LoaderOptions other = options_of(8, 2);
  other.seed = 12;
  Loader reseeded(pictures, other);
  EXPECT_NE(indices_of(epoch_of(reseeded, 0)), first);
  Loader plain(pictures, options_of(8, 2, false));
  const auto ordered = epoch_of(plain, 0);
  ASSERT_EQ(ordered.size(), 4u);
  EXPECT_EQ(ordered[3].size, 6);
  const auto all = indices_of(ordered);
  EXPECT_TRUE(std::is_sorted(all.begin(), all.end()));
  EXPECT_EQ(ordered[1].labels[0], 8 % 7);
}

TEST(Loader, AugmentationDependsOnEpochAndPicture) {
  Loader loader(std::make_shared<Pictures>(5), options_of(5, 1, false));
  EXPECT_NE(epoch_of(loader, 0)[0].images, epoch_of(loader, 1)[0].images);
  Loader shuffled(std::make_shared<Pictures>(5), options_of(5, 1, true));
  const Batch a = epoch_of(loader, 3)[0], b = epoch_of(shuffled, 3)[0];
  for (size_t i = 0; i < 5; ++i) {  // each picture as it was, wherever it stands
    EXPECT_TRUE(std::equal(&b.images[i * 108], &b.images[i * 108] + 108, &a.images[b.indices[i] * 108]));
  }
}

TEST(Loader, StartAtABatchIsTheTailOfTheEpoch) {
  Loader loader(std::make_shared<Pictures>(29), options_of(4, 3));
  const auto whole = epoch_of(loader, 5);
  for (size_t first : {0u, 1u, 4u, 7u, 8u, 100u}) {
    const auto from = whole.begin() + std::ptrdiff_t(std::min<size_t>(first, whole.size()));
    expect_same(epoch_of(loader, 5, first), {from, whole.end()});
  }
}

TEST(Loader, EvenBatchesLeaveNothingOutAndNoSmallRest) {
  for (size_t size : {0u, 1u, 5u, 8u, 9u, 16u, 17u, 100u}) {
    LoaderOptions options = options_of(8, 2);
    options.even = true;
    Loader loader(std::make_shared<Pictures>(size), options);
    const auto batches = epoch_of(loader, 0);
    EXPECT_EQ(batches.size(), (size + 7) / 8);
    EXPECT_EQ(loader.batches(), batches.size());
    const auto all = indices_of(batches);
    EXPECT_EQ(std::set(all.begin(), all.end()).size(), size);
    EXPECT_EQ(all.size(), size);
    for (const Batch& batch : batches) {
      EXPECT_LE(batch.size, 8);
      EXPECT_LE(std::abs(batch.size - batches[0].size), 1);
    }
  }
  EXPECT_EQ(Loader(std::make_shared<Pictures>(17), options_of(8, 1)).batches(), 3u);
}

TEST(Loader, PartsAreTheWholeInTurn) {
  for (const bool even : {false, true}) {
    for (const int parts : {2, 3, 7}) {
      LoaderOptions options = options_of(5, 2);
      options.even = even;
      const auto pictures = std::make_shared<Pictures>(29);
      Loader loader(pictures, options);
      const auto whole = epoch_of(loader, 2);
      std::vector<std::vector<Batch>> shares;
      for (options.part = 0, options.parts = parts; options.part < parts; ++options.part) {
        Loader share(pictures, options);
        std::vector<Batch> own;
        share.start(2);
        for (Batch batch; share.next(batch);) own.push_back(batch);
        shares.push_back(own);
      }
      for (size_t k = 0; k < whole.size(); ++k) {
        std::vector<size_t> indices;
        std::vector<float> images;
        for (const auto& share : shares) {
          ASSERT_EQ(share.size(), whole.size());
          EXPECT_EQ(share[k].number, int64_t(k));
          indices.insert(indices.end(), share[k].indices.begin(), share[k].indices.end());
          images.insert(images.end(), share[k].images.begin(), share[k].images.end());
        }
        EXPECT_EQ(indices, whole[k].indices);
        EXPECT_EQ(images, whole[k].images);
      }
    }
  }
}

// As large as ImageNet, and resumed in the middle of an epoch by another number of processes.
TEST(Loader, AnEpochOfAMillionIsResumedWithEachPictureOnce) {
  class Million : public Pictures {
   public:
    explicit Million(bool shards) : Pictures(1'281'167), shards_(shards) {}
    std::vector<std::pair<size_t, size_t>> runs() const override {
      std::vector<std::pair<size_t, size_t>> runs;
      for (size_t k = 0; shards_ && k < size(); k += 10'000)
        runs.emplace_back(k, std::min(size(), k + 10'000));
      return runs;
    }

   private:
    bool shards_;
  };
  for (const bool shards : {false, true}) {
    const auto pictures = std::make_shared<Million>(shards);
    LoaderOptions options = options_of(1024, 2);
    options.even = true, options.images = false;
    std::vector<uint8_t> seen(pictures->size());
    Batch batch;
    const auto see = [&](int parts, size_t first, size_t end) {
      for (options.part = 0, options.parts = parts; options.part < parts; ++options.part) {
        Loader loader(pictures, options);
        loader.start(7, first);
        while (loader.next(batch)) {
          for (const size_t k : batch.indices) ++seen[k];
          if (static_cast<size_t>(batch.number) + 1 == end) break;
        }
      }
    };
    see(4, 0, 700);
    see(3, 700, SIZE_MAX);
    EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), 1'281'167);
  }
}

TEST(Loader, BrokenPicturesAreLeftOutCountedAndNamed) {
  Loader loader(std::make_shared<Pictures>(12, std::set<size_t>{1, 4, 5, 6, 7}), options_of(4, 2, false));
  const auto batches = epoch_of(loader, 0);
  ASSERT_EQ(batches.size(), 2u);  // the one of 4 to 7 is gone
  EXPECT_EQ(batches[0].indices, (std::vector<size_t>{0, 2, 3}));
  EXPECT_EQ(batches[1].indices, (std::vector<size_t>{8, 9, 10, 11}));
  const auto broken = loader.broken();
  EXPECT_EQ(broken.size(), 5u);
  EXPECT_EQ(broken.at("picture 4"), "torn");
  epoch_of(loader, 1);
  EXPECT_EQ(loader.broken().size(), 5u);
}

TEST(Loader, ThrowsWhereEveryPictureIsBroken) {
  Loader loader(std::make_shared<Pictures>(3, std::set<size_t>{0, 1, 2}), options_of(2, 2, false));
  Batch batch;
  for (uint64_t epoch : {0, 1}) {
    loader.start(epoch);
    const auto text = expect_error(ErrorCode::kCorrupt, [&] { loader.next(batch); });
    EXPECT_TRUE(contains(text, "picture 0: torn"));
  }
}

TEST(Loader, OtherExceptionsReachTheCaller) {
  const auto pictures = std::make_shared<Pictures>(40);
  pictures->strange = 10;
  Loader loader(pictures, options_of(4, 3, false));
  for (int round = 0; round < 3; ++round) {
    loader.start(0);
    Batch batch;
    EXPECT_TRUE(loader.next(batch));
    EXPECT_TRUE(loader.next(batch));
    EXPECT_THROW(loader.next(batch), std::runtime_error);
    EXPECT_FALSE(loader.next(batch));
  }
  EXPECT_EQ(epoch_of(loader, 0, 3).size(), 7u);  // goes on after a restart
}

TEST(Loader, RestartsAndEndsAnywhere) {
  const auto pictures = std::make_shared<Pictures>(60);
  pictures->slow = true;
  Loader reference(pictures, options_of(5, 1));
  const auto expected = epoch_of(reference, 3);
  for (int taken = 0; taken < 14; ++taken) {
    Loader loader(pictures, options_of(5, 3));
    Batch batch;
    EXPECT_FALSE(loader.next(batch));  // not begun
    loader.start(1);
    for (int i = 0; i < taken; ++i) loader.next(batch);
    loader.start(2);
    loader.start(3);
    if (taken % 3 == 0) expect_same(rest_of(loader), expected);
    if (taken % 3 == 1) loader.next(batch);
  }
}

TEST(Loader, MakesOnlyAFewBatchesAhead) {
  class Counted : public Pictures {
   public:
    Counted() : Pictures(1000) {}
    std::shared_ptr<const Image> image(size_t index) const override {
      ++asked;
      return Pictures::image(index);
    }
    mutable std::atomic<int> asked{0};
  };
  const auto pictures = std::make_shared<Counted>();
  Loader loader(pictures, options_of(10, 2));
  loader.start(0);
  Batch batch;
  ASSERT_TRUE(loader.next(batch));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_LE(pictures->asked, 60);
}

TEST(Loader, RefusesSenselessOptions) {
  const auto pictures = std::make_shared<Pictures>(3);
  const auto refuse = [&](auto change) {
    LoaderOptions options = options_of(2, 1);
    change(options);
    expect_error(ErrorCode::kInvalidArgument, [&] { Loader(pictures, options); });
  };
  refuse([](LoaderOptions& options) { options.batch = 0; });
  refuse([](LoaderOptions& options) { options.workers = 0; });
  refuse([](LoaderOptions& options) { options.augment.crop = "bad"; });
  refuse([](LoaderOptions& options) { options.preprocess.size = 0; });
  refuse([](LoaderOptions& options) { options.preprocess.resize = 3; });
  expect_error(ErrorCode::kInvalidArgument, [] { Loader(nullptr, LoaderOptions{}); });
}

}  // namespace
}  // namespace fewshift
