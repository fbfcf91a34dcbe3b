// SPDX-License-Identifier: Apache-2.0
#include "train/run_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"
#include "core/file.h"

namespace fewshift {

void RunFiles::create() const {
  std::error_code error;
  for (const auto& file : {config(), state(), best(), last(), metrics()}) {
    if (std::filesystem::exists(file, error))
      throw Error(ErrorCode::kInvalidArgument, "--out " + folder_.string(),
                  "holds a run already: continue it with --resume, or name another folder");
  }
  std::filesystem::create_directories(folder_, error);
  if (error || !std::filesystem::is_directory(folder_)) {
    throw Error(ErrorCode::kIo, "--out " + folder_.string(),
                "cannot make the folder: " + (error ? error.message() : std::string("a file is in the way")));
  }
}

void RunFiles::lock() const {
  const int fd = ::open(log().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0)
    throw Error(ErrorCode::kIo, log().string(), std::string("cannot write: ") + std::strerror(errno));
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    ::close(fd);
    throw Error(ErrorCode::kInvalidArgument, "--out " + folder_.string(),
                "another process is training into this folder");
  }
  // The descriptor stays open: the system gives the lock back when the process ends, however it ends.
}

void RunFiles::append_log(const std::string& line) const {
  append_file(log(), line + "\n");
}

Recipe read_run_recipe(const std::filesystem::path& run, const std::string& where) {
  const RunFiles files(run);
  if (!std::filesystem::exists(files.config())) {
    throw Error(ErrorCode::kNotFound, where, "there is no run: it has no config.toml");
  }
  Recipe recipe;
  read_recipe(files.config(), recipe);
  return recipe;
}

}  // namespace fewshift
