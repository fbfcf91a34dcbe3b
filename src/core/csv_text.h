// A field of a CSV file.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

namespace fewshift {

// In quotes where it must be (RFC 4180).
inline std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

}  // namespace fewshift
