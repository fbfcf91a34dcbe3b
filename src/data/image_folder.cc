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

// Relative to `root`, in byte order.
std::vector<std::string> list_pictures(const fs::path& root, const std::string& folder) {
  std::vector<std::string> paths;
  with_errors(root / folder, [&] {
    for (fs::recursive_directory_iterator entry(root / folder), end; entry != end; ++entry) {
      if (is_hidden(entry->path())) {
        entry.disable_recursion_pending();
      } else if (has_image_extension(entry->path()) && entry->is_regular_file()) {
        paths.push_back(entry->path().lexically_relative(root).generic_string());
      }
    }
  });
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace

std::shared_ptr<const Image> ImageFolder::image(size_t index) const {
  return std::make_shared<const Image>(load_image(name(index), min_side_));
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
                                                 int min_side) {
  std::vector<std::pair<std::string, int>> pictures;
  for (size_t label = 0; label < classes.size(); ++label) {
    const fs::path folder = root / classes[label];
    std::vector<std::string> paths;
    if (fs::is_directory(folder)) paths = list_pictures(root, classes[label]);
    if (paths.empty() && all_filled) {
      throw Error(ErrorCode::kInvalidArgument, folder.string(),
                  "the class folder has no picture in it (.jpg, .jpeg, .png)");
    }
    for (std::string& path : paths) pictures.emplace_back(std::move(path), static_cast<int>(label));
  }
  if (pictures.empty()) {
    throw Error(ErrorCode::kNotFound, root.string(), "no picture (.jpg, .jpeg, .png) in its class folders");
  }
  return std::make_shared<ImageFolder>(root, std::move(pictures), min_side);
}

}  // namespace fewshift
