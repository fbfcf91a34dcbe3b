// SPDX-License-Identifier: Apache-2.0
#include "data/check.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include "core/error.h"
#include "core/file.h"
#include "data/image_folder.h"
#include "data/near_duplicates.h"
#include "data/open.h"
#include "image/colour_mode.h"
#include "image/decode.h"

namespace fewshift {
namespace {

namespace fs = std::filesystem;

const char* const kParts[] = {"train", "val", "test"};

using Open = std::function<std::shared_ptr<const Image>(std::string& mode)>;
struct Item {
  CheckedPicture picture;
  Open open;
};

void note_passed_over(const std::string& what, const fs::path& file, DataCheck& check) {
  auto found = std::find_if(check.passed_over.begin(), check.passed_over.end(),
                            [&](const auto& p) { return p.what == what; });
  if (found == check.passed_over.end()) found = check.passed_over.insert(found, {what, file.string(), 0});
  ++found->files;
}

// Pictures where no training looks: beside class folders, and in folders that are no part of the set.
void find_misplaced(const fs::path& root, DataCheck& check) {
  for (const fs::directory_entry& entry : fs::directory_iterator(root)) {
    const std::string name = entry.path().filename().string();
    if (is_hidden(entry.path())) continue;
    if (entry.is_regular_file() && has_image_extension(entry.path()))
      note_passed_over("beside train/", entry.path(), check);
    if (!entry.is_directory()) continue;
    const bool part = std::find(std::begin(kParts), std::end(kParts), name) != std::end(kParts);
    if (part) {
      for (const fs::directory_entry& below : fs::directory_iterator(entry.path())) {
        if (!is_hidden(below.path()) && below.is_regular_file() && has_image_extension(below.path()))
          note_passed_over("directly in " + name + "/", below.path(), check);
      }
      continue;
    }
    for (const auto& below : fs::recursive_directory_iterator(entry.path())) {
      if (below.is_regular_file() && has_image_extension(below.path()))
        note_passed_over("in " + name + "/, which is no part", below.path(), check);
    }
  }
}

// Everything in a class folder: pictures by their names, and what is passed over.
void list_class(const fs::path& folder, const std::string& part, DataCheck& check, std::vector<Item>& items) {
  std::vector<fs::path> files;
  for (fs::recursive_directory_iterator entry(folder), end; entry != end; ++entry) {
    if (is_hidden(entry->path())) {
      entry.disable_recursion_pending();
    } else if (entry->is_regular_file()) {
      files.push_back(entry->path());
    }
  }
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    if (has_image_extension(file)) {
      items.push_back(
          {{part, folder.filename().string(), file.string(), 0, 0, ""}, [file](std::string& mode) {
             const std::string bytes = read_file(file);
             auto image = std::make_shared<const Image>(decode_image(bytes, file.string()));
             mode = colour_mode(bytes, file.string());
             return image;
           }});
      continue;
    }
    note_passed_over("named " + (file.has_extension() ? extension_of(file) : "without an extension"), file,
                     check);
  }
}

// Of check.format, kImageFolder or kClassFolders.
std::vector<Item> list_folders(const fs::path& root, DataCheck& check) {
  std::vector<Item> items;
  const auto list_part = [&](const fs::path& folder, const char* part) {
    for (const std::string& name : list_classes(folder)) {
      check.counts[part][name] = 0;
      list_class(folder / name, part, check, items);
    }
  };
  if (check.format == kClassFolders) {
    for (const fs::directory_entry& entry : fs::directory_iterator(root)) {
      if (!is_hidden(entry.path()) && entry.is_regular_file() && has_image_extension(entry.path()))
        note_passed_over("beside the class folders", entry.path(), check);
    }
    list_part(root, "train");
    return items;
  }
  find_misplaced(root, check);
  for (const char* part : kParts) {
    if (fs::is_directory(root / part)) list_part(root / part, part);
  }
  return items;
}

std::vector<Item> list_binaries(const fs::path& root, DataCheck& check) {
  DataOptions options;
  options.val_share = 0, options.cache_bytes = 0;
  const Data data = open_data(root, options);
  std::vector<Item> items;
  const std::shared_ptr<const Dataset> sets[] = {data.train, data.val, data.test};
  for (int k = 0; k < 3; ++k) {
    if (!sets[k]) continue;
    for (const std::string& name : data.class_names) check.counts[kParts[k]][name] = 0;
    for (size_t i = 0; i < sets[k]->size(); ++i)
      items.push_back({{kParts[k], data.class_names[sets[k]->label(i)], sets[k]->name(i), 0, 0, ""},
                       [set = sets[k], i](std::string& mode) {
                         auto image = set->image(i);
                         const std::string bytes = set->file(i);
                         if (!bytes.empty()) mode = colour_mode(bytes, set->name(i));
                         return image;
                       }});
  }
  return items;
}

// Opens all pictures; what cannot be opened goes to check.broken, in order.
std::vector<Likeness> look_at(std::vector<Item>& items, int threads,
                              const std::function<void(size_t, size_t)>& on_progress, DataCheck& check) {
  std::vector<Likeness> likenesses(items.size());
  std::vector<std::string> reasons(items.size());  // why not
  std::atomic<size_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  auto work = [&] {
    try {
      for (size_t k; (k = next++) < items.size();) {
        try {
          const auto image = items[k].open(items[k].picture.mode);
          items[k].picture.width = image->width, items[k].picture.height = image->height;
          likenesses[k] = likeness(*image);
        } catch (const Error& error) {
          reasons[k] = error.what();
        }
        if (k % 256 == 255) {
          const std::lock_guard lock(mutex);
          on_progress(k + 1, items.size());
        }
      }
    } catch (...) {
      next = items.size();
      const std::lock_guard lock(mutex);
      failure = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> workers;  // joined, whatever happens
    for (int t = 1; t < std::min<int>(threads, static_cast<int>(items.size())); ++t)
      workers.emplace_back(work);
    work();
  }
  if (failure) std::rethrow_exception(failure);
  on_progress(items.size(), items.size());

  std::vector<Likeness> known;
  std::vector<Open> openers;
  for (size_t k = 0; k < items.size(); ++k) {
    if (!reasons[k].empty()) {
      const std::string& file = items[k].picture.name;
      check.broken.push_back({file, reasons[k].substr(reasons[k].starts_with(file) ? file.size() + 2 : 0)});
      continue;
    }
    ++check.counts[items[k].picture.part][items[k].picture.folder];
    ++check.modes[items[k].picture.mode];
    check.pictures.push_back(std::move(items[k].picture));
    known.push_back(likenesses[k]);
    openers.push_back(std::move(items[k].open));
  }
  check.open = [openers = std::move(openers)](size_t k) {
    std::string mode;
    return openers[k](mode);
  };
  return known;
}

void find_classes(int few, DataCheck& check) {
  std::set<std::string> all;
  for (const auto& [part, classes] : check.counts) {
    for (const auto& [name, pictures] : classes) all.insert(name);
  }
  for (const char* part : kParts) {
    const auto found = check.counts.find(part);
    if (found == check.counts.end()) continue;
    const bool train = part == std::string("train"), known = check.counts.count("train") > 0;
    for (const std::string& name : all) {
      const auto count = found->second.find(name);
      const int64_t pictures = count == found->second.end() ? -1 : count->second;
      std::string reason;
      if (pictures == 0) reason = "has no picture that can be read";
      if (pictures < 0) reason = train ? "is not in train/, but elsewhere" : "is not in it";
      if (train && pictures > 0 && pictures < few) reason = "has few";
      if (!train && pictures > 0 && known && !check.counts["train"].count(name)) continue;  // said of train/
      if (!reason.empty()) check.classes.push_back({part, name, std::max<int64_t>(pictures, 0), reason});
    }
  }
}

void find_odd(DataCheck& check) {
  constexpr int kLongest = 4, kFarther = 4;  // times as long as wide; times as large or small as the median
  constexpr double kCommon = 0.05;           // of the pictures: no longer odd
  std::vector<int> sides;
  for (const CheckedPicture& p : check.pictures) sides.push_back(std::min(p.width, p.height));
  if (sides.empty()) return;
  std::nth_element(sides.begin(), sides.begin() + static_cast<std::ptrdiff_t>(sides.size() / 2), sides.end());
  check.median_side = sides[sides.size() / 2];
  const double common = kCommon * static_cast<double>(check.pictures.size());
  for (size_t k = 0; k < check.pictures.size(); ++k) {
    const CheckedPicture& p = check.pictures[k];
    const int side = std::min(p.width, p.height), length = std::max(p.width, p.height);
    if (side * kFarther < check.median_side) {
      check.sizes.push_back({k, "far smaller than most"});
    } else if (side > kFarther * check.median_side) {
      check.sizes.push_back({k, "far larger than most"});
    } else if (length > kLongest * side) {
      check.sizes.push_back({k, "long and narrow: a square crop sees little of it"});
    }
    if (p.mode.find("alpha") != std::string::npos) {
      check.colours.push_back({k, p.mode + ": transparency is dropped"});
    } else if (p.mode == "CMYK") {
      check.colours.push_back({k, "CMYK: colours are converted without a profile"});
    } else if (!p.mode.empty() && static_cast<double>(check.modes[p.mode]) < common) {
      check.colours.push_back({k, p.mode + ", as few others"});
    }
  }
}

}  // namespace

bool DataCheck::across_parts(const std::vector<size_t>& group) const {
  return std::any_of(group.begin(), group.end(),
                     [&](size_t k) { return pictures[k].part != pictures[group[0]].part; });
}
bool DataCheck::across_classes(const std::vector<size_t>& group) const {
  return std::any_of(group.begin(), group.end(),
                     [&](size_t k) { return pictures[k].folder != pictures[group[0]].folder; });
}

DataCheck check_data(const fs::path& root, const CheckOptions& options,
                     const std::function<void(size_t, size_t)>& on_progress) {
  try {
    if (!fs::is_directory(root)) throw Error(ErrorCode::kNotFound, root.string(), "no such folder");
    DataCheck check;
    check.format = layout_of(root);
    const bool folders = check.format == kImageFolder || check.format == kClassFolders;
    std::vector<Item> items = folders ? list_folders(root, check) : list_binaries(root, check);
    if (items.empty() && check.passed_over.empty())
      throw Error(ErrorCode::kNotFound, root.string(),
                  "no picture (" + std::string(kImageExtensions) + ") in its class folders");
    const std::vector<Likeness> likenesses = look_at(items, options.threads, on_progress, check);
    check.duplicates = near_duplicates(likenesses, [&](size_t k) -> std::shared_ptr<const Image> {
      try {
        return check.open(k);
      } catch (const Error&) {  // gone since
        return nullptr;
      }
    });
    std::stable_sort(check.duplicates.begin(), check.duplicates.end(), [&](const auto& a, const auto& b) {
      auto rank = [&](const auto& group) {
        return 2 * check.across_parts(group) + check.across_classes(group);
      };
      return rank(a) > rank(b);
    });
    find_classes(options.few, check);
    find_odd(check);
    return check;
  } catch (const fs::filesystem_error& error) {
    throw Error(ErrorCode::kIo, error.path1().empty() ? root.string() : error.path1().string(),
                error.code().message());
  }
}

}  // namespace fewshift
