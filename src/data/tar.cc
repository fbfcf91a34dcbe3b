// SPDX-License-Identifier: Apache-2.0
#include "data/tar.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <optional>

#include "core/error.h"

namespace fewshift {
namespace {

constexpr uint64_t kBlock = 512, kMostExtended = 1 << 20;

class File {
 public:
  explicit File(const std::filesystem::path& path) : path_(path.string()) {
    fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd_ < 0) fail("cannot open");
    struct stat status;
    if (::fstat(fd_, &status) != 0 || S_ISDIR(status.st_mode)) {
      if (errno == 0) errno = EISDIR;
      const int error = errno;
      ::close(fd_);
      errno = error;
      fail("cannot read");
    }
    size_ = static_cast<uint64_t>(std::max<off_t>(0, status.st_size));
  }
  ~File() { ::close(fd_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  uint64_t size() const { return size_; }
  const std::string& path() const { return path_; }
  // Within the file as it was opened. What is small is read with what follows it.
  void read(uint64_t offset, char* to, uint64_t size) const {
    if (size > sizeof ahead_) return read_plainly(offset, to, size);
    if (offset < ahead_at_ || offset + size > ahead_at_ + ahead_size_) {
      ahead_size_ = 0, ahead_at_ = offset;
      const uint64_t some =
          std::max(size, std::min<uint64_t>(sizeof ahead_, size_ - std::min(size_, offset)));
      read_plainly(offset, ahead_, some);
      ahead_size_ = some;
    }
    std::memcpy(to, ahead_ + (offset - ahead_at_), size);
  }

 private:
  void read_plainly(uint64_t offset, char* to, uint64_t size) const {
    while (size > 0) {
      const ssize_t got = ::pread(fd_, to, size, static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) fail("cannot read");
      if (got == 0) throw Error(ErrorCode::kCorrupt, path_, "the file has become shorter");
      to += got, offset += static_cast<uint64_t>(got), size -= static_cast<uint64_t>(got);
    }
  }

  [[noreturn]] void fail(const char* action) const {
    throw Error(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, path_,
                std::string(action) + ": " + std::strerror(errno));
  }
  std::string path_;
  int fd_ = -1;
  uint64_t size_ = 0;
  mutable char ahead_[2048];  // a label, its header and the next one
  mutable uint64_t ahead_at_ = 0, ahead_size_ = 0;
};

// Octal digits between spaces and zeros, or a number to base 256 behind a first byte of 0x80.
std::optional<uint64_t> number(std::string_view field) {
  if (!field.empty() && static_cast<uint8_t>(field[0]) == 0x80) {
    uint64_t value = 0;
    for (char c : field.substr(1)) {
      if (value >> 56 != 0) return std::nullopt;
      value = value << 8 | static_cast<uint8_t>(c);
    }
    return value;
  }
  uint64_t value = 0;
  const size_t begin = std::min(field.find_first_not_of(' '), field.size());
  for (size_t k = begin; k < field.size() && field[k] != ' ' && field[k] != '\0'; ++k) {
    if (field[k] < '0' || field[k] > '7' || value >> 60 != 0) return std::nullopt;
    value = value << 3 | static_cast<uint64_t>(field[k] - '0');
  }
  return value;
}

std::string text(std::string_view field) {
  return std::string(field.substr(0, std::min(field.find('\0'), field.size())));
}

// The sum of a header's bytes, its own field taken as spaces; some writers added them as signed.
bool sums_up(std::string_view header, uint64_t stated) {
  int64_t plain = 0, as_signed = 0;
  for (size_t k = 0; k < header.size(); ++k) {
    const char c = k >= 148 && k < 156 ? ' ' : header[k];
    plain += static_cast<uint8_t>(c), as_signed += static_cast<signed char>(c);
  }
  return static_cast<int64_t>(stated) == plain || static_cast<int64_t>(stated) == as_signed;
}

struct Extended {
  std::optional<std::string> path;
  std::optional<uint64_t> size;
  bool sparse = false;
};

// Records "LENGTH KEY=VALUE\n", LENGTH that of the whole record.
bool read_pax(std::string_view records, Extended& next) {
  while (!records.empty()) {
    uint64_t length = 0;
    const auto [end, status] = std::from_chars(records.data(), records.data() + records.size(), length);
    const auto digits = static_cast<size_t>(end - records.data());
    if (status != std::errc() || length < digits + 3 || length > records.size() || *end != ' ' ||
        records[length - 1] != '\n')
      return false;
    const std::string_view record = records.substr(digits + 1, length - digits - 2);
    const size_t equals = record.find('=');
    if (equals == std::string_view::npos) return false;
    const std::string_view key = record.substr(0, equals), value = record.substr(equals + 1);
    if (key == "path") next.path = std::string(value);
    if (key == "size") {
      uint64_t size = 0;
      const auto [last, error] = std::from_chars(value.data(), value.data() + value.size(), size);
      if (error != std::errc() || last != value.data() + value.size()) return false;
      next.size = size;
    }
    if (key.starts_with("GNU.sparse")) next.sparse = true;
    records.remove_prefix(length);
  }
  return true;
}

}  // namespace

std::vector<TarMember> list_tar(const std::filesystem::path& path) {
  std::vector<TarMember> members;
  walk_tar(path, [&](const TarMember& member, const TarBytes&) { members.push_back(member); });
  return members;
}

void walk_tar(const std::filesystem::path& path,
              const std::function<void(const TarMember&, const TarBytes&)>& take) {
  errno = 0;
  const File file(path);
  const TarBytes bytes_of = [&file](uint64_t offset, uint64_t size) {
    std::string bytes(size, '\0');
    file.read(offset, bytes.data(), size);
    return bytes;
  };
  Extended next;
  for (uint64_t at = 0; at < file.size();) {
    const auto fail = [&](const std::string& what) {
      throw Error(ErrorCode::kCorrupt, file.path(), what + " at byte " + std::to_string(at));
    };
    if (file.size() - at < kBlock) fail("the tar is cut short");
    char block[kBlock];
    file.read(at, block, kBlock);
    const std::string_view header(block, kBlock);
    if (header.find_first_not_of('\0') == std::string_view::npos) break;
    if (at == 0 && (header.starts_with("\x1F\x8B") || header.starts_with("\x28\xB5\x2F\xFD") ||
                    header.starts_with("BZh") ||
                    header.starts_with("\xFD"
                                       "7zXZ")))
      throw Error(ErrorCode::kUnsupported, file.path(),
                  "a compressed tar is not read: unpack it to .tar first");
    const auto stated = number(header.substr(148, 8)), field = number(header.substr(124, 12));
    if (!stated || !field || !sums_up(header, *stated)) fail("there is no tar header");
    const char type = header[156];
    const bool extends = type == 'x' || type == 'L';
    const uint64_t size = !extends && next.size ? *next.size : *field, offset = at + kBlock;
    const bool has_bytes = type < '1' || type > '6';  // those are links, devices and folders
    if (has_bytes && (size > file.size() - offset)) fail("the tar is cut short: a member ends beyond it");
    if (type == 'S' || next.sparse)
      throw Error(ErrorCode::kUnsupported, file.path(), "has a sparse file at byte " + std::to_string(at));
    if (extends) {
      if (size > kMostExtended) fail("a name is too long");
      std::string bytes(size, '\0');
      file.read(offset, bytes.data(), size);
      if (type == 'L') next.path = text(bytes);
      if (type == 'x' && !read_pax(bytes, next)) fail("an extended header is malformed");
    } else if (type != 'g' && type != 'K') {
      if (type == '0' || type == '\0' || type == '7') {
        std::string name = text(header.substr(0, 100));
        const std::string prefix =
            header.substr(257, 6) == std::string_view("ustar\0", 6) ? text(header.substr(345, 155)) : "";
        if (!prefix.empty()) name = prefix + "/" + name;
        take({next.path.value_or(name), offset, size}, bytes_of);
      }
      next = {};
    }
    const uint64_t padded = has_bytes ? (size + kBlock - 1) / kBlock * kBlock : 0;
    at = std::min(offset + padded, file.size());  // some writers leave the last zeros out
  }
}

std::string read_range(const std::filesystem::path& path, uint64_t offset, uint64_t size) {
  errno = 0;
  const File file(path);
  if (offset > file.size() || size > file.size() - offset)
    throw Error(ErrorCode::kCorrupt, file.path(), "the file has become shorter");
  std::string bytes(size, '\0');
  file.read(offset, bytes.data(), size);
  return bytes;
}

namespace {

std::string header(const std::string& name, const std::string& prefix, uint64_t size, char type) {
  std::string block(kBlock, '\0');
  auto put = [&](size_t at, const std::string& value) { block.replace(at, value.size(), value); };
  char digits[16];
  put(0, name);
  put(100, "0000644"), put(108, "0000000"), put(116, "0000000");  // mode, owner, group
  std::snprintf(digits, sizeof digits, "%011llo", static_cast<unsigned long long>(size));
  put(124, digits);
  put(136, "00000000000");  // time
  block[156] = type;
  put(257, std::string("ustar\0"
                       "00",
                       8));
  put(345, prefix);
  uint64_t sum = 8 * ' ';
  for (char c : block) sum += static_cast<uint8_t>(c);
  std::snprintf(digits, sizeof digits, "%06llo", static_cast<unsigned long long>(sum));
  put(148, std::string(digits, 6) + std::string("\0 ", 2));
  return block;
}

std::string padded(std::string_view bytes) {
  std::string text(bytes);
  text.resize((bytes.size() + kBlock - 1) / kBlock * kBlock, '\0');
  return text;
}

}  // namespace

std::string tar_member(const std::string& name, std::string_view bytes) {
  if (name.size() <= 100) return header(name, "", bytes.size(), '0') + padded(bytes);
  for (size_t slash = name.find('/'); slash != std::string::npos && slash <= 155;
       slash = name.find('/', slash + 1)) {
    if (slash > 0 && name.size() - slash - 1 <= 100)
      return header(name.substr(slash + 1), name.substr(0, slash), bytes.size(), '0') + padded(bytes);
  }
  const std::string record = " path=" + name + "\n";
  size_t length = record.size();
  while (std::to_string(length).size() + record.size() != length)
    length = std::to_string(length).size() + record.size();
  const std::string extended = std::to_string(length) + record;
  return header("pax", "", extended.size(), 'x') + padded(extended) +
         header(name.substr(0, 100), "", bytes.size(), '0') + padded(bytes);
}

std::string tar_end() {
  return std::string(2 * kBlock, '\0');
}

}  // namespace fewshift
