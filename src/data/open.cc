// Recognises a data set's layout and opens its parts.
// SPDX-License-Identifier: Apache-2.0
#include "data/open.h"

#include <algorithm>
#include <map>
#include <utility>

#include "core/error.h"
#include "core/file.h"
#include "data/cached.h"
#include "data/cifar_binary.h"
#include "data/image_folder.h"
#include "data/subset.h"
#include "data/tar_shards.h"

namespace fewshift {
namespace {

namespace fs = std::filesystem;

// Without blank ones and without the white space at their ends.
std::vector<std::string> read_lines(const fs::path& path) {
  std::string text = read_file(path);
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    line.erase(line.find_last_not_of(" \t\r") + 1);
    if (!line.empty()) lines.push_back(std::move(line));
    at = end + 1;
  }
  return lines;
}

[[noreturn]] void fail_names(const fs::path& path, const std::string& message) {
  throw Error(ErrorCode::kCorrupt, path.string(), message);
}

std::vector<std::string> one_name_a_line(const fs::path& path, size_t classes) {
  auto lines = read_lines(path);
  if (lines.size() != classes) {
    fail_names(path, std::to_string(lines.size()) + " names for " + std::to_string(classes) + " classes");
  }
  return lines;
}

// Lines for folders that are not classes here are passed over: one list may serve a larger data set.
std::vector<std::string> names_by_folder(const fs::path& path, const std::vector<std::string>& folders) {
  std::map<std::string, std::string> names;
  for (const std::string& line : read_lines(path)) {
    const size_t tab = line.find('\t');
    if (tab == std::string::npos) fail_names(path, "the line \"" + line + "\" is not FOLDER<tab>NAME");
    names[line.substr(0, tab)] = line.substr(tab + 1);
  }
  std::vector<std::string> out;
  for (const std::string& folder : folders) {
    const auto found = names.find(folder);
    if (found == names.end()) fail_names(path, "no name for the class folder \"" + folder + "\"");
    out.push_back(found->second);
  }
  return out;
}

// The names in class_names.txt where there is one, else `folders` themselves.
std::vector<std::string> readable_names(const fs::path& root, const std::vector<std::string>& folders) {
  const fs::path path = root / "class_names.txt";
  if (!fs::exists(path)) return folders;
  const auto lines = read_lines(path);
  const bool by_folder =
      std::any_of(lines.begin(), lines.end(), [](const auto& line) { return line.find('\t') != line.npos; });
  return by_folder ? names_by_folder(path, folders) : one_name_a_line(path, folders.size());
}

// The classes of train/, or of val/ and test/ together where there is no train/.
std::vector<std::string> find_classes(const fs::path& root) {
  if (fs::is_directory(root / "train")) return list_classes(root / "train");
  auto classes = list_classes(root / "val");
  for (auto& name : list_classes(root / "test")) classes.push_back(std::move(name));
  std::sort(classes.begin(), classes.end());
  classes.erase(std::unique(classes.begin(), classes.end()), classes.end());
  return classes;
}

std::shared_ptr<const Dataset> open_part(const fs::path& part, const std::vector<std::string>& classes,
                                         bool is_train, int min_side, PassedOver& passed_over) {
  if (!fs::is_directory(part)) return nullptr;
  for (const std::string& name : list_classes(part)) {
    if (std::binary_search(classes.begin(), classes.end(), name)) continue;
    throw Error(ErrorCode::kInvalidArgument, (part / name).string(), "train/ has no such class");
  }
  return open_image_folder(part, classes, is_train, min_side, passed_over);
}

Data open_folders(const fs::path& root, int min_side) {
  const auto classes = find_classes(root);
  if (classes.size() < 2) {
    throw Error(ErrorCode::kInvalidArgument, root.string(),
                "needs at least two class folders, has " + std::to_string(classes.size()));
  }
  Data data;
  data.format = kImageFolder;
  data.train = open_part(root / "train", classes, true, min_side, data.passed_over);
  data.val = open_part(root / "val", classes, false, min_side, data.passed_over);
  data.test = open_part(root / "test", classes, false, min_side, data.passed_over);
  data.class_names = readable_names(root, classes);
  return data;
}

Data open_class_folders(const fs::path& root, const std::vector<std::string>& classes, int min_side) {
  Data data;
  data.format = kClassFolders;
  data.train = open_image_folder(root, classes, true, min_side, data.passed_over);
  data.class_names = readable_names(root, classes);
  return data;
}

struct CifarLayout {
  const char* format;
  int label_bytes, classes;
  const char* names;
  std::vector<const char*> train;
  const char* test;

  bool found_in(const fs::path& root) const {
    return fs::exists(root / test) ||
           std::any_of(train.begin(), train.end(), [&](const char* file) { return fs::exists(root / file); });
  }
};

const CifarLayout& cifar10() {
  static const CifarLayout layout{
      "CIFAR-10 binary",
      1,
      10,
      "batches.meta.txt",
      {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"},
      "test_batch.bin"};
  return layout;
}

const CifarLayout& cifar100() {
  static const CifarLayout layout{"CIFAR-100 binary", 2,         100, "fine_label_names.txt",
                                  {"train.bin"},      "test.bin"};
  return layout;
}

Data open_cifar(const fs::path& root, const CifarLayout& layout) {
  Data data;
  data.format = layout.format;
  std::vector<fs::path> train;
  for (const char* file : layout.train) train.push_back(root / file);
  // One training file asks for all of them: four fifths of CIFAR-10 would pass for the whole.
  if (std::any_of(train.begin(), train.end(), [](const fs::path& file) { return fs::exists(file); })) {
    data.train = std::make_shared<CifarBinary>(train, layout.label_bytes, layout.classes);
  }
  if (fs::exists(root / layout.test)) {
    data.test =
        std::make_shared<CifarBinary>(std::vector{root / layout.test}, layout.label_bytes, layout.classes);
  }
  data.class_names = one_name_a_line(root / layout.names, layout.classes);
  data.class_names = readable_names(root, data.class_names);
  return data;
}

Data open_shards(const fs::path& root, int min_side) {
  Data data;
  data.format = kTarShards;
  int classes = 0;
  auto open = [&](const char* part) -> std::shared_ptr<const Dataset> {
    auto files = find_shards(root, part);
    if (files.empty()) return nullptr;
    auto shards = std::make_shared<TarShards>(root, part, std::move(files), min_side);
    classes = std::max(classes, shards->classes());
    return shards;
  };
  data.train = open("train"), data.val = open("val"), data.test = open("test");
  if (classes == 0) return data;
  if (fs::exists(root / "class_names.txt")) {
    data.class_names = read_lines(root / "class_names.txt");
    if (classes > static_cast<int>(data.class_names.size()))
      fail_names(root / "class_names.txt", std::to_string(data.class_names.size()) +
                                               " names, but a label is " + std::to_string(classes - 1));
  } else {
    for (int k = 0; k < classes; ++k) data.class_names.push_back(std::to_string(k));
  }
  if (data.class_names.size() < 2)
    throw Error(ErrorCode::kInvalidArgument, root.string(),
                "needs at least two classes; its shards have one label");
  if (data.train) {
    std::vector<bool> known(data.class_names.size());
    for (size_t k = 0; k < data.train->size(); ++k) known[data.train->label(k)] = true;
    for (const auto& part : {data.val, data.test}) {
      for (size_t k = 0; part && k < part->size(); ++k) {
        if (!known[part->label(k)])
          throw Error(ErrorCode::kInvalidArgument, part->name(k), "no picture of train has its class");
      }
    }
  }
  return data;
}

Data open_layout(const fs::path& root, int min_side) {
  const std::string layout = layout_of(root);
  for (const CifarLayout* cifar : {&cifar10(), &cifar100()}) {
    if (layout == cifar->format) return open_cifar(root, *cifar);
  }
  if (layout == kImageFolder) return open_folders(root, min_side);
  if (layout == kTarShards) return open_shards(root, min_side);
  if (layout == kClassFolders) return open_class_folders(root, list_classes(root), min_side);
  throw Error(
      ErrorCode::kNotFound, root.string(),
      "holds no pictures in class folders (train/CLASS/*.jpg with val/ and test/ beside it or not, or "
      "CLASS/*.jpg of at least two classes), no tar shards (train-*.tar) and no CIFAR's binary files");
}

void cut_val_from_train(Data& data, const DataOptions& options) {
  if (data.val || !data.train || options.val_share == 0 || data.train->size() < 2) return;
  auto split = data.format == kClassFolders
                   ? split_by_class(*data.train, options.val_share, options.seed)
                   : split_at_random(data.train->size(), options.val_share, options.seed);
  data.val = std::make_shared<Subset>(data.train, std::move(split.part));
  data.train = std::make_shared<Subset>(data.train, std::move(split.rest));
  data.val_from_train = true;
}

// Of a set that cannot fit, what is kept would mostly not be what is asked for.
bool worth_caching(const Dataset& part, const DataOptions& options) {
  const size_t side = std::max(32, options.min_side / 2), least = 3 * side * side;
  return part.size() <= options.cache_bytes / least;
}

}  // namespace

std::string layout_of(const fs::path& root) {
  for (const CifarLayout* layout : {&cifar10(), &cifar100()}) {
    if (layout->found_in(root)) return layout->format;
  }
  const std::initializer_list<const char*> parts = {"train", "val", "test"};
  for (const char* part : parts) {
    if (fs::is_directory(root / part)) return kImageFolder;
  }
  for (const char* part : parts) {
    if (!find_shards(root, part).empty()) return kTarShards;
  }
  return list_classes(root).size() >= 2 ? kClassFolders : "";
}

Data open_data(const fs::path& folder, const DataOptions& options) {
  if (!(options.val_share >= 0 && options.val_share < 1)) {
    throw Error(ErrorCode::kInvalidArgument, "val_share", "must be at least 0 and below 1");
  }
  try {
    if (!fs::is_directory(folder)) throw Error(ErrorCode::kNotFound, folder.string(), "no such folder");
    Data data = open_layout(folder, options.min_side);
    if (!data.format.starts_with("CIFAR")) {  // that is in memory already
      const auto budget = std::make_shared<CacheBudget>(options.cache_bytes);
      for (auto* part : {&data.train, &data.val, &data.test}) {
        if (*part && worth_caching(**part, options)) *part = std::make_shared<Cached>(*part, budget);
      }
    }
    cut_val_from_train(data, options);
    return data;
  } catch (const fs::filesystem_error& error) {
    throw Error(ErrorCode::kIo, folder.string(), error.code().message());
  }
}

}  // namespace fewshift
