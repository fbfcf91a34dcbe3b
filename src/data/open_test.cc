// Opening image folders and CIFAR's binary files, sound and unsound.
// SPDX-License-Identifier: Apache-2.0
#include "data/open.h"

#include <atomic>
#include <map>
#include <set>
#include <thread>

#include "data/cached.h"
#include "image/test_support.h"

namespace fewshift {
namespace {

using namespace testing_support;

// A picture of 4 x 4 px whose every value is `shade`.
std::string shade(int value) {
  return encode_png(flat(4, 4, value, value, value));
}

void write_class(const TemporaryFolder& folder, const std::string& path, int pictures) {
  std::filesystem::create_directories(folder.path() / path);
  for (int i = 0; i < pictures; ++i) folder.write(path + "/" + std::to_string(i) + ".png", shade(i));
}

void write_cifar10(const TemporaryFolder& folder) {
  for (int batch = 0; batch <= 5; ++batch) {
    std::string bytes;
    for (int i = 0; i < 4; ++i)
      bytes +=
          char(batch) + std::string(1024, '\1') + std::string(1024, '\2') + std::string(1024, char(100 + i));
    folder.write(batch ? "data_batch_" + std::to_string(batch) + ".bin" : "test_batch.bin", bytes);
  }
  folder.write("batches.meta.txt",
               "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n");
}

std::set<std::string> names(const Dataset& dataset) {
  std::set<std::string> out;
  for (size_t i = 0; i < dataset.size(); ++i) out.insert(dataset.name(i));
  return out;
}

std::string open_error(const TemporaryFolder& folder, ErrorCode code) {
  return expect_error(code, [&] { open_data(folder.path(), {}); });
}

TEST(OpenFolder, ByteOrderAnyDepthAndOnlyPictures) {
  const TemporaryFolder folder;
  for (const char* path :
       {"train/b/z.png", "train/b/deep/er/a.PNG", "train/b/B.png", "train/B/1.png", "train/a/1.png"}) {
    folder.write(path, shade(1));
  }
  for (const char* path :
       {"train/b/notes.txt", "train/b/.hidden.png", "train/.cache/x.png", "train/loose.png",
        "train/a/moving.GIF", "train/b/deep/b.gif", "train/b/README", "train/b/.DS_Store"}) {
    folder.write(path, "");
  }
  folder.write("test/b/1.png", shade(9));
  const Data data = open_data(folder.path(), {.val_share = 0});
  EXPECT_EQ(data.format, "image folder");
  EXPECT_EQ(text(data.passed_over),
            "2 .gif, 1 .txt, 1 without an extension (pictures end in .jpg, .jpeg, .png, .webp)");
  EXPECT_EQ(data.class_names, (std::vector<std::string>{"B", "a", "b"}));
  ASSERT_EQ(data.train->size(), 5u);
  std::vector<std::string> found;
  for (size_t i = 0; i < 5; ++i) {
    found.push_back(std::filesystem::relative(data.train->name(i), folder.path() / "train").string());
  }
  EXPECT_EQ(found, (std::vector<std::string>{"B/1.png", "a/1.png", "b/B.png", "b/deep/er/a.PNG", "b/z.png"}));
  EXPECT_EQ(data.train->label(0), 0);
  EXPECT_EQ(data.train->label(4), 2);
  EXPECT_EQ(data.val, nullptr);
  ASSERT_EQ(data.test->size(), 1u);  // lacks two classes
  EXPECT_EQ(data.test->label(0), 2);
  EXPECT_EQ(difference(*data.test->image(0), flat(4, 4, 9, 9, 9)), 0);
}

TEST(OpenFolder, ValIsCutFromTrainBySeed) {
  const TemporaryFolder folder;
  write_class(folder, "train/a", 30);
  write_class(folder, "train/b", 20);
  const auto cut = [&](uint64_t seed) {
    const Data data = open_data(folder.path(), {.seed = seed, .val_share = 0.2});
    EXPECT_TRUE(data.val_from_train);
    EXPECT_EQ(data.train->size(), 40u);
    EXPECT_EQ(data.val->size(), 10u);
    auto all = names(*data.train);
    const auto val = names(*data.val);
    all.insert(val.begin(), val.end());
    EXPECT_EQ(all.size(), 50u);  // disjoint, none lost
    return val;
  };
  EXPECT_EQ(cut(1), cut(1));
  EXPECT_NE(cut(1), cut(2));
  for (double share : {-0.1, 1.0, 7.0}) {
    expect_error(ErrorCode::kInvalidArgument, [&] { open_data(folder.path(), {.val_share = share}); });
  }
}

TEST(OpenFolder, ValThatIsThereIsLeftAlone) {
  const TemporaryFolder folder;
  for (const char* path : {"train/a", "train/b", "val/a"}) write_class(folder, path, 3);
  const Data data = open_data(folder.path(), {});
  EXPECT_FALSE(data.val_from_train);
  EXPECT_EQ(data.train->size(), 6u);
  EXPECT_EQ(data.val->size(), 3u);
  EXPECT_EQ(data.test, nullptr);
}

TEST(OpenFolder, OfClassFoldersAloneAPartOfEveryClassIsVal) {
  const TemporaryFolder folder;
  write_class(folder, "many", 40);
  write_class(folder, "few/deeper", 2);
  write_class(folder, "one", 1);
  const Data data = open_data(folder.path(), {.seed = 3, .val_share = 0.1});
  EXPECT_EQ(data.format, kClassFolders);
  EXPECT_EQ(data.class_names, (std::vector<std::string>{"few", "many", "one"}));
  ASSERT_TRUE(data.train && data.val && data.val_from_train && !data.test);
  std::map<int, int> train, val;
  for (size_t k = 0; k < data.train->size(); ++k) ++train[data.train->label(k)];
  for (size_t k = 0; k < data.val->size(); ++k) ++val[data.val->label(k)];
  EXPECT_EQ(train, (std::map<int, int>{{0, 1}, {1, 36}, {2, 1}}));
  EXPECT_EQ(val, (std::map<int, int>{{0, 1}, {1, 4}}));
  std::set<std::string> all = names(*data.train);
  all.merge(names(*data.val));
  EXPECT_EQ(all.size(), 43u) << "every picture is in one of them";
  EXPECT_EQ(names(*data.val), names(*open_data(folder.path(), {.seed = 3, .val_share = 0.1}).val));
  EXPECT_NE(names(*data.val), names(*open_data(folder.path(), {.seed = 4, .val_share = 0.1}).val));
}

TEST(OpenFolder, TestAlone) {
  const TemporaryFolder folder;
  write_class(folder, "test/a", 1);
  write_class(folder, "test/b", 2);
  const Data data = open_data(folder.path(), {});
  EXPECT_EQ(data.train, nullptr);
  EXPECT_EQ(data.val, nullptr);
  EXPECT_EQ(data.test->size(), 3u);
}

TEST(OpenFolder, ClassNamesInBothForms) {
  const TemporaryFolder folder;
  for (const char* path : {"train/n01", "train/n02"}) write_class(folder, path, 2);
  const auto read = [&](const std::string& text) {
    folder.write("class_names.txt", text);
    return open_data(folder.path(), {}).class_names;
  };
  const std::vector<std::string> expected{"great cat", "dog"};
  EXPECT_EQ(read("great cat\r\ndog\r\n\r\n"), expected);
  EXPECT_EQ(read("n02\tdog\nn99\tother\nn01\tgreat cat"), expected);
  for (const char* bad : {"", "one\n", "a\nb\nc\n", "n01\tcat\n", "n01\tcat\nn02\n"}) {
    folder.write("class_names.txt", bad);
    EXPECT_TRUE(contains(open_error(folder, ErrorCode::kCorrupt), "class_names.txt")) << bad;
  }
}

TEST(OpenFolder, RefusesWhatIsNoDataSet) {
  const TemporaryFolder folder;
  EXPECT_TRUE(
      contains(expect_error(ErrorCode::kNotFound, [] { open_data("/no/such", {}); }), "/no/such: no such"));
  EXPECT_TRUE(contains(open_error(folder, ErrorCode::kNotFound), "holds no pictures in class folders"));
  write_class(folder, "train/only", 2);
  EXPECT_TRUE(contains(open_error(folder, ErrorCode::kInvalidArgument), "two class"));
  write_class(folder, "train/void", 0);
  EXPECT_TRUE(contains(open_error(folder, ErrorCode::kInvalidArgument), "train/void: "));
  write_class(folder, "train/void", 1);
  write_class(folder, "val/strange", 1);
  EXPECT_TRUE(contains(open_error(folder, ErrorCode::kInvalidArgument), "val/strange: "));
}

TEST(OpenFolder, BrokenPictureThrowsWhenAskedFor) {
  const TemporaryFolder folder;
  write_class(folder, "train/a", 1);
  folder.write("train/b/x.png", "");
  const Data data = open_data(folder.path(), {.val_share = 0});
  EXPECT_TRUE(contains(expect_error(ErrorCode::kCorrupt, [&] { data.train->image(1); }), "train/b/x.png"));
}

TEST(OpenFolder, MinSideReachesTheDecoder) {
  const TemporaryFolder folder;
  for (const char* path : {"train/a/1.jpg", "train/b/1.jpg"})
    folder.write(path, encode_jpeg(flat(64, 64, 1, 2, 3)));
  EXPECT_EQ(open_data(folder.path(), {.min_side = 10}).train->image(0)->width, 16);
}

TEST(OpenCifar, TenClasses) {
  const TemporaryFolder folder;
  write_cifar10(folder);
  const Data data = open_data(folder.path(), {.val_share = 0.25});
  EXPECT_EQ(data.format, "CIFAR-10 binary");
  EXPECT_EQ(data.class_names[9], "truck");
  EXPECT_EQ(data.train->size(), 15u);
  EXPECT_EQ(data.val->size(), 5u);
  ASSERT_EQ(data.test->size(), 4u);
  EXPECT_EQ(data.test->label(3), 0);
  EXPECT_EQ(data.test->name(3), (folder.path() / "test_batch.bin#3").string());
  EXPECT_EQ(difference(*data.test->image(3), flat(32, 32, 1, 2, 103)), 0);
  const Data whole = open_data(folder.path(), {.val_share = 0});
  EXPECT_EQ(whole.train->label(4), 2);
  EXPECT_EQ(whole.train->name(19), (folder.path() / "data_batch_5.bin#3").string());
}

TEST(OpenCifar, HundredClassesByTheirFineLabels) {
  const TemporaryFolder folder;
  std::string list;
  for (int i = 0; i < 100; ++i) list += "name " + std::to_string(i) + "\n";
  folder.write("fine_label_names.txt", list);
  folder.write("test.bin", std::string("\x05\x63") + std::string(3072, '\7'));
  const Data data = open_data(folder.path(), {});
  EXPECT_EQ(data.format, "CIFAR-100 binary");
  EXPECT_EQ(data.train, nullptr);
  EXPECT_EQ(data.class_names.size(), 100u);
  EXPECT_EQ(data.test->label(0), 99);
  EXPECT_EQ(difference(*data.test->image(0), flat(32, 32, 7, 7, 7)), 0);
}

TEST(OpenCifar, RefusesBrokenFiles) {
  const TemporaryFolder folder;
  write_cifar10(folder);
  folder.write("data_batch_3.bin", std::string(3073 * 2 - 1, '\0'));
  EXPECT_TRUE(contains(open_error(folder, ErrorCode::kCorrupt), "data_batch_3.bin: "));
  folder.write("data_batch_3.bin", std::string(3073, '\0') + std::string(3073, '\x0A'));
  EXPECT_TRUE(contains(open_error(folder, ErrorCode::kCorrupt), "record 1 has label 10"));
  folder.write("data_batch_3.bin", "");
  EXPECT_TRUE(contains(open_error(folder, ErrorCode::kCorrupt), "the file is empty"));
  std::filesystem::remove(folder.path() / "data_batch_3.bin");
  EXPECT_TRUE(contains(open_error(folder, ErrorCode::kNotFound), "data_batch_3.bin"));
  write_cifar10(folder);
  folder.write("batches.meta.txt", "one\ntwo\n");
  EXPECT_TRUE(contains(open_error(folder, ErrorCode::kCorrupt), "2 names for 10 classes"));
}

// Counts how often each picture is decoded.
class Counting : public Dataset {
 public:
  size_t size() const override { return 4; }
  int label(size_t index) const override { return int(index); }
  std::string name(size_t index) const override { return std::to_string(index); }
  std::shared_ptr<const Image> image(size_t index) const override {
    ++decoded[index];
    return std::make_shared<const Image>(flat(10, 10, int(index), 0, 0));
  }
  mutable std::atomic<int> decoded[4] = {};
};

TEST(Cached, KeepsTheFirstAskedForUntilTheBudgetIsSpent) {
  const auto source = std::make_shared<Counting>();
  const auto budget = std::make_shared<CacheBudget>(2 * (300 + sizeof(Image)) + 50);
  const Cached cached(source, budget);
  for (int round = 0; round < 3; ++round) {
    for (size_t index : {2, 0, 1, 3}) EXPECT_EQ(cached.image(index)->pixels[0], index);
  }
  EXPECT_EQ(source->decoded[2], 1);
  EXPECT_EQ(source->decoded[0], 1);
  EXPECT_EQ(source->decoded[1], 3);
  EXPECT_EQ(source->decoded[3], 3);
  EXPECT_EQ(budget->left(), 50u);
}

TEST(Cached, ServesThreadsAtOnce) {
  const auto budget = std::make_shared<CacheBudget>(1 << 20);
  const Cached cached(std::make_shared<Counting>(), budget);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (size_t i = 0; i < 200; ++i) EXPECT_EQ(cached.image(i % 4)->pixels[0], i % 4);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(budget->left(), (1u << 20) - 4 * (300 + sizeof(Image)));
}

}  // namespace
}  // namespace fewshift
