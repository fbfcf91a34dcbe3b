// The names and labels of many pictures in little memory, and such a table kept on disk between runs.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/passed_over.h"

namespace fewshift {

// About 50 bytes a picture of ImageNet.
class PictureTable {
 public:
  size_t size() const { return labels_.size(); }
  std::string_view name(size_t k) const {
    const uint64_t begin = k == 0 ? 0 : ends_[k - 1];
    return std::string_view(names_).substr(begin, ends_[k] - begin);
  }
  int label(size_t k) const { return labels_[k]; }
  // Where a picture lies in a file that holds several; 0 where each is one of its own.
  struct Place {
    size_t file = 0;
    uint64_t offset = 0, size = 0;
  };
  Place place(size_t k) const {
    return places_.empty() ? Place{} : Place{size_t(places_[3 * k]), places_[3 * k + 1], places_[3 * k + 2]};
  }

  void add(std::string_view name, int label);
  void add(std::string_view name, int label, const Place& place);
  void append(const PictureTable& more);
  void shrink();  // to what is used

 private:
  friend struct TableFile;
  std::string names_;
  std::vector<uint64_t> ends_;
  std::vector<int32_t> labels_;
  std::vector<uint64_t> places_;  // [size][3], or none
};

// A folder or file that a table was made from, as it was then: the table is that of another only if one of
// them has changed.
struct Stamp {
  std::string path;      // relative to the data set
  int64_t modified = 0;  // ns
  uint64_t size = 0;     // 0 for a folder
  bool operator==(const Stamp&) const = default;
};
// Throws Error (kIo, kNotFound).
Stamp stamp_of(const std::filesystem::path& root, const std::string& path, bool is_folder);

struct StampedTable {
  std::vector<Stamp> stamps;
  PictureTable table;
  PassedOver passed_over;
};

// The one kept for part `part` of the data set in `root`; nothing where there is none, or it cannot be read.
// Kept are those of 20,000 pictures and more, one file a data set and part, in $FEWSHIFT_CACHE,
// $XDG_CACHE_HOME/fewshift or ~/.cache/fewshift.
std::optional<StampedTable> kept_table(const std::filesystem::path& root, const std::string& part);
// Does nothing where the table is small, a stamp younger than two seconds (a change in its time's last tick
// would not be seen), or the file cannot be written.
void keep_table(const std::filesystem::path& root, const std::string& part, const StampedTable& table);

// The bytes of such a file, and back; the latter throws Error (kCorrupt).
std::string format_table(const StampedTable& table, const std::string& root);
StampedTable parse_table(const std::string& bytes, const std::string& root, const std::string& where);

}  // namespace fewshift
