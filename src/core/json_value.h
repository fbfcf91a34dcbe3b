// JSON as a value, for what comes with files. Unlike nlohmann's, it can be read, and go, where memory runs
// out; and is never deep. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace fewshift {

struct JsonValue {
  using Array = std::vector<JsonValue>;
  struct Object {
    std::vector<std::string> keys;
    std::vector<JsonValue> values;
  };
  std::variant<std::nullptr_t, bool, int64_t, double, std::string, Array, Object> value;

  const Array* array() const { return std::get_if<Array>(&value); }
  const std::string* text() const { return std::get_if<std::string>(&value); }
  std::optional<int64_t> integer() const;
  std::optional<double> number() const;          // an integer too
  const JsonValue* find(const char* key) const;  // of an object, the last of that name; else null
};

// Nothing where the text is no JSON, or nested deeper than 16.
std::optional<JsonValue> parse_json(std::string_view text);

}  // namespace fewshift
