// Files that TensorBoard reads: records of protocol buffers ("Event" of TensorFlow's event.proto), each with
// its length and CRC-32C. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace fewshift {

class EventFile {
 public:
  // Makes `folder` if need be, and a new file in it: TensorBoard shows all files of a folder as one run.
  // Throws Error (kIo), here and below.
  explicit EventFile(const std::filesystem::path& folder);
  // A value each of some names ("val/top1") at a step; appended at once.
  void scalars(int64_t step, const std::vector<std::pair<std::string, double>>& values);

 private:
  void append(const std::string& event);
  std::filesystem::path path_;
};

}  // namespace fewshift
