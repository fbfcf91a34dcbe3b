// The files of a RUN folder.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "train/recipe.h"

namespace fewshift {

class RunFiles {
 public:
  explicit RunFiles(std::filesystem::path folder) : folder_(std::move(folder)) {}

  std::filesystem::path config() const { return folder_ / "config.toml"; }
  std::filesystem::path metrics() const { return folder_ / "metrics.jsonl"; }
  std::filesystem::path log() const { return folder_ / "log.txt"; }
  std::filesystem::path last() const { return folder_ / "last.safetensors"; }
  std::filesystem::path best() const { return folder_ / "best.safetensors"; }
  std::filesystem::path state() const { return folder_ / "state.safetensors"; }
  const std::filesystem::path& folder() const { return folder_; }

  // Makes the folder. Throws Error (kIo) where that fails, (kInvalidArgument) where a run is there already.
  void create() const;
  // Holds the folder for this process until it ends. Throws Error (kInvalidArgument) where another one has
  // it.
  void lock() const;
  // Appends a line to log.txt. Throws Error (kIo).
  void append_log(const std::string& line) const;

 private:
  std::filesystem::path folder_;
};

// The recipe of an existing run. Throws Error, naming `where`, if there is none.
Recipe read_run_recipe(const std::filesystem::path& run, const std::string& where);

}  // namespace fewshift
