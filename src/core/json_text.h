// JSON as the text that commands print and files carry.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <nlohmann/json.hpp>
#include <string>

namespace fewshift {

// On one line; bytes that are not UTF-8 (a folder's name may have them) become U+FFFD.
inline std::string json_text(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace fewshift
