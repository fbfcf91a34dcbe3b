// A kept table is a safetensors file: names one behind the other, where each ends, labels, places; the stamps
// and what it is of in its metadata. SPDX-License-Identifier: Apache-2.0
#include "data/picture_table.h"

#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "core/fnv.h"
#include "core/json_text.h"
#include "core/safetensors.h"

namespace fewshift {

namespace fs = std::filesystem;

void PictureTable::add(std::string_view name, int label) {
  names_ += name;
  ends_.push_back(names_.size());
  labels_.push_back(label);
}

void PictureTable::add(std::string_view name, int label, const Place& place) {
  add(name, label);
  places_.insert(places_.end(), {place.file, place.offset, place.size});
}

void PictureTable::append(const PictureTable& more) {
  const uint64_t before = names_.size();
  names_ += more.names_;
  for (const uint64_t end : more.ends_) ends_.push_back(before + end);
  labels_.insert(labels_.end(), more.labels_.begin(), more.labels_.end());
  places_.insert(places_.end(), more.places_.begin(), more.places_.end());
}

void PictureTable::shrink() {
  names_.shrink_to_fit(), ends_.shrink_to_fit(), labels_.shrink_to_fit(), places_.shrink_to_fit();
}

Stamp stamp_of(const fs::path& root, const std::string& path, bool is_folder) {
  struct stat status;
  if (::stat((root / path).c_str(), &status) != 0)
    throw Error(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, (root / path).string(),
                std::string("cannot read: ") + std::strerror(errno));
  return {path, int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec,
          is_folder ? 0 : static_cast<uint64_t>(status.st_size)};
}

struct TableFile {
  static constexpr const char* kFormat = "fewshift pictures 2";

  template <class T>
  static RawTensor raw(const char* dtype, const std::vector<T>& values) {
    return {dtype,
            {static_cast<int64_t>(values.size())},
            {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)}};
  }
  template <class T>
  static std::vector<T> values(const RawTensor& raw) {
    std::vector<T> values(raw.bytes.size() / sizeof(T));
    if (!values.empty()) std::memcpy(values.data(), raw.bytes.data(), values.size() * sizeof(T));
    return values;
  }

  static std::string format(const StampedTable& t, const std::string& root) {
    SafeTensors file;
    file.metadata["format"] = kFormat;
    file.metadata["of"] = root;
    nlohmann::json stamps = nlohmann::json::array();
    for (const Stamp& s : t.stamps) stamps.push_back({s.path, s.modified, s.size});
    file.metadata["stamps"] = stamps.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    file.metadata["passed_over"] = json_text(t.passed_over);
    file.tensors["names"] = {"U8", {static_cast<int64_t>(t.table.names_.size())}, t.table.names_};
    file.tensors["ends"] = raw("U64", t.table.ends_);
    file.tensors["labels"] = raw("I32", t.table.labels_);
    file.tensors["places"] = raw("U64", t.table.places_);
    return format_safetensors(file);
  }

  static StampedTable parse(const std::string& bytes, const std::string& root, const std::string& where) {
    auto check = [&](bool good, const char* what) {
      if (!good) throw Error(ErrorCode::kCorrupt, where, what);
    };
    SafeTensors file = parse_safetensors(bytes, where);
    check(file.metadata["format"] == kFormat, "is no table of pictures");
    check(file.metadata["of"] == root, "is the table of another data set");
    const auto tensor = [&](const char* name, const char* dtype) -> RawTensor& {
      const auto found = file.tensors.find(name);
      check(found != file.tensors.end() && found->second.dtype == dtype,
            "a tensor is missing or of another type");
      return found->second;
    };
    StampedTable t;
    const nlohmann::json stamps = nlohmann::json::parse(file.metadata["stamps"], nullptr, false);
    check(stamps.is_array(), "the stamps are malformed");
    uint64_t files = 0;
    for (const auto& s : stamps) {
      check(s.is_array() && s.size() == 3 && s[0].is_string() && s[1].is_number_integer() &&
                s[2].is_number_unsigned(),
            "a stamp is malformed");
      t.stamps.push_back({s[0], s[1], s[2]});
      ++files;
    }
    const nlohmann::json over = nlohmann::json::parse(file.metadata["passed_over"], nullptr, false);
    check(over.is_object(), "the files passed over are malformed");
    for (const auto& [kind, count] : over.items()) {
      check(count.is_number_unsigned(), "the files passed over are malformed");
      t.passed_over[kind] = count;
    }
    PictureTable& table = t.table;
    table.names_ = std::move(tensor("names", "U8").bytes);
    table.ends_ = values<uint64_t>(tensor("ends", "U64"));
    table.labels_ = values<int32_t>(tensor("labels", "I32"));
    table.places_ = values<uint64_t>(tensor("places", "U64"));
    const size_t size = table.labels_.size();
    check(table.ends_.size() == size && (table.places_.empty() || table.places_.size() == 3 * size),
          "its parts are not of one length");
    uint64_t before = 0;
    for (const uint64_t end : table.ends_) {
      check(end >= before && end <= table.names_.size(), "a name lies outside");
      before = end;
    }
    for (const int32_t label : table.labels_) check(label >= 0, "a label is below 0");
    for (size_t k = 0; k < table.places_.size(); k += 3)
      check(table.places_[k] < files, "a file is not there");
    return t;
  }
};

std::string format_table(const StampedTable& table, const std::string& root) {
  return TableFile::format(table, root);
}
StampedTable parse_table(const std::string& bytes, const std::string& root, const std::string& where) {
  return TableFile::parse(bytes, root, where);
}

namespace {

constexpr size_t kWorthKeeping = 20'000;
constexpr int64_t kSettled = 2'000'000'000;  // ns

fs::path cache_folder() {
  const auto set = [](const char* name) {
    const char* value = std::getenv(name);
    return value && *value ? std::string(value) : std::string();
  };
  if (const std::string own = set("FEWSHIFT_CACHE"); !own.empty()) return own;
  if (const std::string xdg = set("XDG_CACHE_HOME"); !xdg.empty()) return fs::path(xdg) / "fewshift";
  if (const std::string home = set("HOME"); !home.empty()) return fs::path(home) / ".cache" / "fewshift";
  return {};
}

std::string absolute_path(const fs::path& root) {
  std::error_code error;
  const fs::path path = fs::weakly_canonical(root, error);
  return error ? root.string() : path.string();
}

fs::path file_of(const fs::path& root, const std::string& part) {
  const fs::path folder = cache_folder();
  if (folder.empty()) return {};
  const uint64_t hash = fnv(absolute_path(root) + "/" + part);
  char name[32];
  std::snprintf(name, sizeof name, "%016llx.pictures", static_cast<unsigned long long>(hash));
  return folder / name;
}

}  // namespace

std::optional<StampedTable> kept_table(const fs::path& root, const std::string& part) {
  try {
    const fs::path file = file_of(root, part);
    if (file.empty() || !fs::exists(file)) return std::nullopt;
    return parse_table(read_file(file), absolute_path(root), file.string());
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

void keep_table(const fs::path& root, const std::string& part, const StampedTable& table) {
  if (table.table.size() < kWorthKeeping) return;
  const auto now = std::chrono::duration_cast<std::chrono::nanoseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  for (const Stamp& stamp : table.stamps) {
    if (stamp.modified > now - kSettled) return;
  }
  try {
    const fs::path file = file_of(root, part);
    if (file.empty()) return;
    fs::create_directories(file.parent_path());
    write_file_atomic(file, format_table(table, absolute_path(root)));
  } catch (const std::exception&) {  // a full disk, or none to write to: the next run lists again
  }
}

}  // namespace fewshift
