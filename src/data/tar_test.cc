// Tar files of several writers, broken ones, and shards made of them.
// SPDX-License-Identifier: Apache-2.0
#include "data/tar.h"

#include <cstdlib>
#include <map>
#include <set>

#include "core/file.h"
#include "data/loader.h"
#include "data/open.h"
#include "data/pack.h"
#include "data/tar_shards.h"
#include "image/decode.h"
#include "image/test_support.h"

namespace fewshift {
namespace {

using namespace testing_support;

std::map<std::string, std::string> contents(const std::filesystem::path& tar) {
  std::map<std::string, std::string> all;
  for (const TarMember& member : list_tar(tar))
    all[member.name] = read_range(tar, member.offset, member.size);
  return all;
}

// Names that need no extension, a prefix, and an extended header; sizes around a block.
std::map<std::string, std::string> some_files() {
  const std::string hundred(100, 'a'), deep = std::string(90, 'd') + "/" + std::string(95, 'e'),
                                       longest = std::string(120, 'l') + "/" + std::string(180, 'm');
  return {{"one", ""},
          {"two.txt", "2"},
          {"d/three", std::string(511, 'x')},
          {"d/four", std::string(512, 'y')},
          {"d/five", std::string(513, 'z')},
          {hundred, "h"},
          {deep, "deep"},
          {longest, "long"},
          {"last", "end"}};
}

TEST(Tar, ReadsItsOwn) {
  const TemporaryFolder folder;
  std::string bytes;
  for (const auto& [name, content] : some_files()) bytes += tar_member(name, content);
  EXPECT_EQ(contents(folder.write("a.tar", bytes + tar_end())), some_files());
  EXPECT_EQ(contents(folder.write("open.tar", bytes)), some_files());  // without an end
  EXPECT_EQ(contents(folder.write("none.tar", "")).size(), 0u);
}

TEST(Tar, AgreesWithTheSystemsTar) {
  const TemporaryFolder folder;
  std::string names, bytes;
  for (const auto& [name, content] : some_files()) {
    folder.write("in/" + name, content);
    bytes += tar_member(name, content);
  }
  const std::string in = "'" + (folder.path() / "in").string() + "'", root = folder.path().string();
  for (const char* format : {"ustar", "gnu", "pax"}) {
    const std::string tar = root + "/" + format + ".tar";
    if (format == std::string("ustar"))
      std::filesystem::remove_all(folder.path() / "in" / std::string(120, 'l'));
    ASSERT_EQ(std::system(("cd " + in + " && find . -type f | sed 's/^..//' | tar --format=" + format +
                           " -cf '" + tar + "' -T -")
                              .c_str()),
              0);
    auto expected = some_files();
    if (format == std::string("ustar")) {
      expected.erase(std::string(120, 'l') + "/" + std::string(180, 'm'));
      folder.write("in/" + std::string(120, 'l') + "/" + std::string(180, 'm'), "long");
    }
    EXPECT_EQ(contents(tar), expected) << format;
  }
  // And the other way round.
  const auto ours = folder.write("ours.tar", bytes + tar_end());
  std::filesystem::create_directories(folder.path() / "out");
  ASSERT_EQ(std::system(("tar -xf '" + ours.string() + "' -C '" + root + "/out'").c_str()), 0);
  for (const auto& [name, content] : some_files())
    EXPECT_EQ(read_file(folder.path() / "out" / name), content);
}

TEST(Tar, RefusesBrokenOnes) {
  const TemporaryFolder folder;
  const std::string bytes = tar_member("a.jpg", std::string(700, 'x')) + tar_member("b.jpg", "y") + tar_end();
  auto error = [&](const std::string& text, ErrorCode code) {
    const auto path = folder.write("broken.tar", text);
    const std::string message = expect_error(code, [&] { list_tar(path); });
    EXPECT_TRUE(contains(message, "broken.tar")) << message;
    return message;
  };
  EXPECT_TRUE(contains(error(bytes.substr(0, 1000), ErrorCode::kCorrupt), "cut short"));
  EXPECT_TRUE(contains(error(bytes.substr(0, 300), ErrorCode::kCorrupt), "cut short"));
  EXPECT_TRUE(contains(error(std::string(1024, 'q'), ErrorCode::kCorrupt), "no tar header at byte 0"));
  std::string flipped = bytes;
  flipped[3] ^= 1;
  EXPECT_TRUE(contains(error(flipped, ErrorCode::kCorrupt), "no tar header"));
  EXPECT_TRUE(contains(error("\x1F\x8B" + std::string(1022, 'z'), ErrorCode::kUnsupported), "compressed"));
  expect_error(ErrorCode::kNotFound, [&] { list_tar(folder.path() / "none.tar"); });
  expect_error(ErrorCode::kIo, [&] { list_tar(folder.path()); });
  expect_error(ErrorCode::kCorrupt, [&] { read_range(folder.write("c", "123"), 2, 2); });
  // Whatever bytes are changed: an error, or members within the file.
  Random random{3};
  for (int round = 0; round < 2000; ++round) {
    std::string changed = tar_member(std::string(150, 'n'), "text") + bytes;
    for (uint64_t k = 0; k <= random.below(4); ++k)
      changed[random.below(changed.size())] = static_cast<char>(random.below(256));
    if (random.chance(0.3)) changed.resize(random.below(changed.size()));
    const auto path = folder.write("changed.tar", changed);
    try {
      for (const TarMember& member : list_tar(path)) EXPECT_LE(member.offset + member.size, changed.size());
    } catch (const Error&) {
    }
  }
}

std::string shade(int value) {
  return encode_png(flat(4, 4, value, value, value));
}

TEST(TarShards, AreADataSet) {
  const TemporaryFolder folder;
  folder.write("train-0.tar", tar_member("x/000.png", shade(0)) + tar_member("x/000.cls", "1\n") +
                                  tar_member("x/000.json", "{}") + tar_member("notes", "?") + tar_end());
  folder.write("train-1.tar", tar_member("001.cls", "0") + tar_member("001.png", shade(1)) +
                                  tar_member("002.seg.png", shade(7)) + tar_member("002.PNG", shade(2)) +
                                  tar_member("002.cls", "2") + tar_member("x/._003.png", "?"));
  folder.write("val.tar", tar_member("v.webp", shade(9)) + tar_member("v.cls", "0") + tar_end());
  const Data data = open_data(folder.path(), {});
  EXPECT_EQ(data.format, "tar shards");
  EXPECT_EQ(data.class_names, (std::vector<std::string>{"0", "1", "2"}));
  ASSERT_EQ(data.train->size(), 3u);
  EXPECT_EQ(data.val->size(), 1u);
  for (size_t k = 0; k < 3; ++k) {
    EXPECT_EQ(data.train->image(k)->pixels[0], k);
    EXPECT_EQ(data.train->label(k), (std::vector<int>{1, 0, 2})[k]);
  }
  EXPECT_TRUE(contains(data.train->name(1), "train-1.tar:001.png"));
  EXPECT_EQ(data.train->runs(), (std::vector<std::pair<size_t, size_t>>{{0, 1}, {1, 3}}));
  folder.write("class_names.txt", "a\nb\nc\nd\n");
  EXPECT_EQ(open_data(folder.path(), {}).class_names.size(), 4u);
  folder.write("test.tar", tar_member("t.png", shade(9)) + tar_member("t.cls", "3"));
  EXPECT_TRUE(
      contains(expect_error(ErrorCode::kInvalidArgument, [&] { open_data(folder.path(), {}); }), "t.png"));
  std::filesystem::remove(folder.path() / "test.tar");
  folder.write("class_names.txt", "a\nb\n");
  EXPECT_TRUE(
      contains(expect_error(ErrorCode::kCorrupt, [&] { open_data(folder.path(), {}); }), "class_names.txt"));
}

TEST(TarShards, NameTheSampleThatIsWrong) {
  const TemporaryFolder folder;
  auto error = [&](const std::string& bytes) {
    folder.write("train.tar", bytes + tar_end());
    return expect_error(ErrorCode::kCorrupt, [&] { open_data(folder.path(), {}); });
  };
  const std::string picture = tar_member("a.png", shade(0));
  EXPECT_TRUE(contains(error(picture), "train.tar:a.png: the picture has no a.cls"));
  EXPECT_TRUE(contains(error(picture + tar_member("a.cls", "cat")), "train.tar:a.cls"));
  EXPECT_TRUE(contains(error(picture + tar_member("a.cls", "-1")), "train.tar:a.cls"));
  EXPECT_TRUE(contains(error(picture + tar_member("a.cls", "")), "train.tar:a.cls"));
  EXPECT_TRUE(contains(error(picture + tar_member("a.cls", std::string(1000, '1'))), "train.tar:a.cls"));
  EXPECT_TRUE(
      contains(error(picture + tar_member("a.jpg", "") + tar_member("a.cls", "1")), "two of this kind"));
}

TEST(Pack, GivesTheSamePicturesBack) {
  const TemporaryFolder folder;
  std::map<std::string, std::pair<std::string, int>> expected;  // by bytes: class
  int value = 0;
  const char* const classes[] = {"classa", "classb", "classc"};
  for (const char* part : {"train", "test"}) {
    for (int label = 0; label < 3; ++label) {
      for (int k = 0; k < 20; ++k, ++value) {
        const std::string name = std::string(classes[label]) + "/my.photo." + std::to_string(k) + ".png";
        folder.write("in/" + std::string(part) + "/" + name, shade(value));
        expected[shade(value)] = {part, label};
      }
    }
  }
  folder.write("in/train/classa/my_photo_0.png", shade(200));  // as the other is renamed
  expected[shade(200)] = {"train", 0};
  PackOptions options;
  options.shard_bytes = 20'000;
  const auto out = folder.path() / "out";
  const Packed packed = pack_data(folder.path() / "in", out, options, [](size_t, size_t) {});
  EXPECT_EQ(packed.pictures, 121);
  EXPECT_GT(packed.shards, 6);
  DataOptions how;
  how.val_share = 0;
  const Data data = open_data(out, how);
  EXPECT_EQ(data.class_names, (std::vector<std::string>{"classa", "classb", "classc"}));
  for (const auto& [part, set] : {std::pair{"train", data.train}, std::pair{"test", data.test}}) {
    for (size_t k = 0; k < set->size(); ++k) {
      const auto image = set->image(k);
      const auto found = expected.find(shade(image->pixels[0]));
      ASSERT_NE(found, expected.end());
      EXPECT_EQ(found->second, std::pair(std::string(part), set->label(k)));
      expected.erase(found);
    }
  }
  EXPECT_TRUE(expected.empty());
  expect_error(ErrorCode::kInvalidArgument,
               [&] { pack_data(folder.path() / "in", out, options, [](size_t, size_t) {}); });
  expect_error(ErrorCode::kUnsupported,
               [&] { pack_data(out, folder.path() / "out2", options, [](size_t, size_t) {}); });
}

// 1000 pictures in 10 runs.
class Runs : public Dataset {
 public:
  size_t size() const override { return 1000; }
  int label(size_t index) const override { return static_cast<int>(index % 7); }
  std::string name(size_t index) const override { return std::to_string(index); }
  std::shared_ptr<const Image> image(size_t) const override {
    return std::make_shared<const Image>(flat(2, 2, 1, 2, 3));
  }
  std::vector<std::pair<size_t, size_t>> runs() const override {
    std::vector<std::pair<size_t, size_t>> runs;
    for (size_t k = 0; k < 1000; k += 100) runs.emplace_back(k, k + 100);
    return runs;
  }
};

TEST(Loader, ShufflesRunsInAWindow) {
  LoaderOptions options;
  options.batch = 10, options.seed = 5, options.shuffle = true, options.window = 150;
  options.preprocess.size = options.preprocess.resize = 2;
  Loader loader(std::make_shared<Runs>(), options);
  std::vector<std::vector<size_t>> epochs;
  for (uint64_t epoch : {0, 1, 0}) {
    loader.start(epoch);
    epochs.emplace_back();
    Batch batch;
    while (loader.next(batch))
      epochs.back().insert(epochs.back().end(), batch.indices.begin(), batch.indices.end());
    EXPECT_EQ(std::set<size_t>(epochs.back().begin(), epochs.back().end()).size(), 1000u);
  }
  EXPECT_EQ(epochs[0], epochs[2]);
  EXPECT_NE(epochs[0], epochs[1]);
  // At any time pictures of few runs alone are on their way, and yet no two runs come one after the other.
  size_t most = 0, mixed = 0;
  for (size_t k = 0; k + 50 <= 1000; k += 50) {
    std::set<size_t> runs;
    for (size_t i = k; i < k + 50; ++i) runs.insert(epochs[0][i] / 100);
    most = std::max(most, runs.size()), mixed += runs.size() > 1;
  }
  EXPECT_LE(most, 9u);
  EXPECT_GE(mixed, 18u);
}

}  // namespace
}  // namespace fewshift
