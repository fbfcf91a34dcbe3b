// Lists class folders and their pictures; decodes a picture when it is asked for.
// SPDX-License-Identifier: Apache-2.0
#include "data/image_folder.h"

#include <algorithm>

#include "core/error.h"
#include "core/file.h"
#include "image/decode.h"

namespace fewshift {
namespace {

namespace fs = std::filesystem;

// Runs `list`, with the system's refusals as Error.
template <class List>
void with_errors(const fs::path& folder, List list) {
  try {
    list();
  } catch (const fs::filesystem_error& error) {
    const std::string where = error.path1().empty() ? folder.string() : error.path1().string();
    throw Error(ErrorCode::kIo, where, "cannot list the folder: " + error.code().message());
  }
}

// Those below root/folder, relative to `root`, in byte order; and all folders on the way.
std::vector<std::string> list_pictures(const fs::path& root, const std::string& folder,
                                       std::vector<std::string>& folders, PassedOver& passed_over) {
  std::vector<std::string> paths;
  const std::string base = root.string() + "/";
  folders.push_back(folder);
  with_errors(root / folder, [&] {
    for (fs::recursive_directory_iterator entry(root / folder), end; entry != end; ++entry) {
      if (is_hidden(entry->path())) {
        entry.disable_recursion_pending();
      } else if (entry->is_directory()) {
        folders.push_back(entry->path().string().substr(base.size()));
      } else if (!entry->is_regular_file()) {
        continue;
      } else if (has_image_extension(entry->path())) {
        paths.push_back(entry->path().string().substr(base.size()));
      } else {
        pass_over(entry->path(), passed_over);
      }
    }
  });
  std::sort(paths.begin(), paths.end());
  return paths;
}

// Whether all is as it was when the table was made, for these classes.
bool holds(const StampedTable& kept, const fs::path& root, const std::vector<std::string>& classes) {
  try {
    size_t found = 0;
    for (const Stamp& stamp : kept.stamps) {
      if (stamp_of(root, stamp.path, true) != stamp) return false;
      found += stamp.path.find('/') == std::string::npos;
    }
    for (size_t k = 0; k < kept.table.size(); ++k) {
      if (kept.table.label(k) >= static_cast<int>(classes.size())) return false;
    }
    return found == classes.size() && std::all_of(classes.begin(), classes.end(), [&](const auto& name) {
             return std::any_of(kept.stamps.begin(), kept.stamps.end(),
                                [&](const Stamp& stamp) { return stamp.path == name; });
           });
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

std::shared_ptr<const Image> ImageFolder::image(size_t index) const {
  return std::make_shared<const Image>(load_image(name(index), min_side_));
}

std::shared_ptr<const Image> ImageFolder::image(size_t index, const Wanted& wanted) const {
  return std::make_shared<const Image>(load_image(name(index), wanted));
}

std::string ImageFolder::file(size_t index) const {
  return read_file(name(index));
}

bool is_hidden(const fs::path& path) {
  return path.filename().string().starts_with('.');
}

std::vector<std::string> list_classes(const fs::path& root) {
  std::vector<std::string> classes;
  if (!fs::exists(root)) return classes;
  with_errors(root, [&] {
    for (const fs::directory_entry& entry : fs::directory_iterator(root)) {
      if (entry.is_directory() && !is_hidden(entry.path()))
        classes.push_back(entry.path().filename().string());
    }
  });
  std::sort(classes.begin(), classes.end());
  return classes;
}

std::shared_ptr<const Dataset> open_image_folder(const fs::path& root,
                                                 const std::vector<std::string>& classes, bool all_filled,
                                                 int min_side, PassedOver& passed_over) {
  const std::string part = root.filename().string();
  const auto add = [&](const PassedOver& more) {
    for (const auto& [kind, files] : more) passed_over[kind] += files;
  };
  if (auto kept = kept_table(root, part); kept && holds(*kept, root, classes)) {
    add(kept->passed_over);
    return std::make_shared<ImageFolder>(root, std::move(kept->table), min_side);
  }
  StampedTable list;
  std::vector<std::string> folders;
  for (size_t label = 0; label < classes.size(); ++label) {
    const fs::path folder = root / classes[label];
    std::vector<std::string> paths;
    if (fs::is_directory(folder)) paths = list_pictures(root, classes[label], folders, list.passed_over);
    if (paths.empty() && all_filled) {
      throw Error(ErrorCode::kInvalidArgument, folder.string(),
                  "the class folder has no picture in it (" + std::string(kImageExtensions) + ")");
    }
    for (const std::string& path : paths) list.table.add(path, static_cast<int>(label));
  }
  if (list.table.size() == 0) {
    throw Error(ErrorCode::kNotFound, root.string(),
                "no picture (" + std::string(kImageExtensions) + ") in its class folders");
  }
  list.table.shrink();
  for (const std::string& folder : folders) list.stamps.push_back(stamp_of(root, folder, true));
  keep_table(root, part, list);
  add(list.passed_over);
  return std::make_shared<ImageFolder>(root, std::move(list.table), min_side);
}

}  // namespace fewshift
