// SPDX-License-Identifier: Apache-2.0
#include "data/passed_over.h"

#include "core/error.h"
#include "core/file.h"
#include "image/decode.h"

namespace fewshift {

void pass_over(const std::filesystem::path& file, PassedOver& all) {
  ++all[file.has_extension() ? one_line(extension_of(file)) : "without an extension"];
}

std::string text(const PassedOver& all) {
  std::string line;
  for (const auto& [kind, files] : all)
    line += (line.empty() ? "" : ", ") + std::to_string(files) + " " + kind;
  return line + " (pictures end in " + kImageExtensions + ")";
}

}  // namespace fewshift
