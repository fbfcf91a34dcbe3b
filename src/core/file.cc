// SPDX-License-Identifier: Apache-2.0
#include "core/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace fewshift {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const char* action, int error) {
  throw Error(error == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, path.string(),
              std::string(action) + ": " + std::strerror(error));
}

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

void write_all(int fd, const std::filesystem::path& path, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail(path, "cannot write", errno);
    bytes.remove_prefix(static_cast<size_t>(put));
  }
}

template <class Buffer>
Buffer read_all(const std::filesystem::path& path, int64_t most = INT64_MAX) {
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) fail(path, "cannot open", errno);
  struct stat status;
  if (::fstat(file.fd, &status) != 0) fail(path, "cannot read", errno);
  if (S_ISDIR(status.st_mode)) fail(path, "cannot read", EISDIR);
  auto check = [&](int64_t bytes) {
    if (bytes > most)
      throw Error(ErrorCode::kUnsupported, path.string(),
                  "is of more than " + std::to_string(most) + " bytes");
  };
  check(status.st_size);
  Buffer buffer;
  size_t size = 0;
  buffer.resize(static_cast<size_t>(std::max<off_t>(0, status.st_size)) + 1);  // room to see the end
  for (;;) {
    if (size == buffer.size()) buffer.resize(2 * size);
    const ssize_t got = ::read(file.fd, buffer.data() + size, buffer.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(path, "cannot read", errno);
    if (got == 0) break;
    size += static_cast<size_t>(got);
    check(static_cast<int64_t>(size));
  }
  buffer.resize(size);
  return buffer;
}

}  // namespace

std::string extension_of(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension;
}

std::string read_file(const std::filesystem::path& path) {
  return read_all<std::string>(path);
}

AlignedBytes read_bytes(const std::filesystem::path& path, int64_t most) {
  return read_all<AlignedBytes>(path, most);
}

void write_file_atomic(const std::filesystem::path& path, std::string_view bytes) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  if (std::filesystem::is_other(status)) {  // a device or a pipe: not to be replaced
    Descriptor file{::open(path.c_str(), O_WRONLY | O_CLOEXEC)};
    if (file.fd < 0) fail(path, "cannot write", errno);
    write_all(file.fd, path, bytes);
    return;
  }
  if (std::filesystem::is_symlink(path, ignored) && std::filesystem::exists(status))
    return write_file_atomic(std::filesystem::canonical(path), bytes);
  const std::filesystem::path temporary = path.string() + ".tmp";
  try {
    Descriptor file{::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
    if (file.fd < 0) fail(path, "cannot write", errno);
    write_all(file.fd, path, bytes);
    if (::fsync(file.fd) != 0) fail(path, "cannot write", errno);
    const int fd = file.fd;
    file.fd = -1;
    if (::close(fd) != 0) fail(path, "cannot write", errno);
    if (::rename(temporary.c_str(), path.c_str()) != 0) fail(path, "cannot write", errno);
  } catch (const Error&) {
    ::unlink(temporary.c_str());
    throw;
  }
  // The rename itself reaches the disk with its folder.
  Descriptor folder{::open(path.has_parent_path() ? path.parent_path().c_str() : ".", O_RDONLY | O_CLOEXEC)};
  if (folder.fd >= 0) ::fsync(folder.fd);
}

void append_file(const std::filesystem::path& path, std::string_view bytes, bool sync) {
  Descriptor file{::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)};
  if (file.fd < 0) fail(path, "cannot write", errno);
  write_all(file.fd, path, bytes);
  if (sync && ::fsync(file.fd) != 0) fail(path, "cannot write", errno);
}

}  // namespace fewshift
