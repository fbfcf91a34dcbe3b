// SPDX-License-Identifier: Apache-2.0
#include "train/run_files.h"

#include <cerrno>
#include <cstring>
#include <fstream>

#include "core/error.h"

namespace fewshift {

void RunFiles::create() const {
  std::error_code error;
  if (std::filesystem::exists(config(), error) || std::filesystem::exists(state(), error)) {
    throw Error(ErrorCode::kInvalidArgument, "--out " + folder_.string(),
                "holds a run already: continue it with --resume, or name another folder");
  }
  std::filesystem::create_directories(folder_, error);
  if (error || !std::filesystem::is_directory(folder_)) {
    throw Error(ErrorCode::kIo, "--out " + folder_.string(),
                "cannot make the folder: " + (error ? error.message() : std::string("a file is in the way")));
  }
}

void RunFiles::append_log(const std::string& line) const {
  std::ofstream file(log(), std::ios::app);
  file << line << '\n';
  file.flush();
  if (!file)
    throw Error(ErrorCode::kIo, log().string(), std::string("cannot write: ") + std::strerror(errno));
}

}  // namespace fewshift
