// SPDX-License-Identifier: Apache-2.0
#include "core/json_value.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace fewshift {
namespace {

// nlohmann's parser reports what it finds; nothing of it is kept there.
class Maker : public nlohmann::json_sax<nlohmann::json> {
 public:
  JsonValue root;

  bool null() override { return add({nullptr}); }
  bool boolean(bool value) override { return add({value}); }
  bool number_integer(number_integer_t value) override { return add({static_cast<int64_t>(value)}); }
  bool number_unsigned(number_unsigned_t value) override {
    return value <= INT64_MAX ? add({static_cast<int64_t>(value)}) : add({static_cast<double>(value)});
  }
  bool number_float(number_float_t value, const string_t&) override { return add({value}); }
  bool string(string_t& value) override { return add({value}); }
  bool binary(binary_t&) override { return false; }
  bool start_object(size_t) override { return open({JsonValue::Object()}); }
  bool start_array(size_t) override { return open({JsonValue::Array()}); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    std::get<JsonValue::Object>(open_.back()->value).keys.push_back(name);
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

 private:
  JsonValue& put(JsonValue value) {
    if (open_.empty()) return root = std::move(value);
    if (auto* array = std::get_if<JsonValue::Array>(&open_.back()->value))
      return array->emplace_back(std::move(value));
    return std::get<JsonValue::Object>(open_.back()->value).values.emplace_back(std::move(value));
  }
  bool add(JsonValue value) {
    put(std::move(value));
    return true;
  }
  bool open(JsonValue value) {
    if (open_.size() == 16) return false;
    open_.push_back(&put(std::move(value)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  std::vector<JsonValue*>
      open_;  // each the last element of the one before it: nothing is put behind it meanwhile
};

}  // namespace

std::optional<int64_t> JsonValue::integer() const {
  const auto* number = std::get_if<int64_t>(&value);
  return number ? std::optional(*number) : std::nullopt;
}
std::optional<double> JsonValue::number() const {
  if (const auto whole = integer()) return static_cast<double>(*whole);
  const auto* number = std::get_if<double>(&value);
  return number ? std::optional(*number) : std::nullopt;
}
const JsonValue* JsonValue::find(const char* key) const {
  const auto* object = std::get_if<Object>(&value);
  const JsonValue* found = nullptr;
  for (size_t k = 0; object && k < object->keys.size(); ++k) {
    if (object->keys[k] == key) found = &object->values[k];
  }
  return found;
}

std::optional<JsonValue> parse_json(std::string_view text) {
  Maker maker;
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &maker)) return {};
  return std::move(maker.root);
}

}  // namespace fewshift
