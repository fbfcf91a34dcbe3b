// SPDX-License-Identifier: Apache-2.0
#include "model/info.h"

#include <cmath>
#include <cstdlib>

#include <nlohmann/json.hpp>

#include "arch/registry.h"
#include "core/error.h"
#include "core/file.h"
#include "core/json_text.h"
#include "core/json_value.h"

namespace fewshift {
namespace {

std::vector<std::string> class_names(const std::string& json, const std::string& where) {
  const std::optional<JsonValue> parsed = parse_json(json);
  const JsonValue::Array* list = parsed ? parsed->array() : nullptr;
  std::vector<std::string> names;
  for (size_t k = 0; list && k < list->size(); ++k) {
    if (const std::string* name = (*list)[k].text()) names.push_back(one_line(*name));
  }
  if (names.size() < 2 || names.size() != list->size()) {
    throw Error(ErrorCode::kCorrupt, where, "metadata class_names is not a list of at least two names");
  }
  return names;
}

}  // namespace

std::optional<double> temperature_of(const ModelInfo& info) {
  const auto note = info.notes.find("temperature");
  const double value = note == info.notes.end() ? 0 : std::strtod(note->second.c_str(), nullptr);
  return value > 0 && std::isfinite(value) ? std::optional(value) : std::nullopt;
}

std::map<std::string, std::string> to_metadata(const ModelInfo& info) {
  std::map<std::string, std::string> metadata = info.notes;
  metadata["model"] = info.model;
  metadata["shift"] = info.shift;
  metadata["class_names"] = json_text(nlohmann::json(info.class_names));
  metadata["preprocess"] = to_json(info.preprocess);
  return metadata;
}

ModelInfo info_from_metadata(const std::map<std::string, std::string>& metadata, const std::string& where) {
  auto need = [&](const std::string& key) {
    const auto found = metadata.find(key);
    if (found == metadata.end()) throw Error(ErrorCode::kCorrupt, where, "its metadata has no " + key);
    return found->second;
  };
  ModelInfo info;
  info.notes = metadata;
  for (const char* key : {"format", "model", "shift", "class_names", "preprocess"}) info.notes.erase(key);
  info.model = need("model");
  if (const auto shift = metadata.find("shift"); shift != metadata.end()) info.shift = shift->second;
  info.class_names = class_names(need("class_names"), where);
  // Files of ours from before the recipe said how to decode mean fast, those of others full.
  const auto format = metadata.find("format");
  const bool ours = metadata.count("displacements") > 0 ||
                    (format != metadata.end() && format->second == kCheckpointFormat);
  info.preprocess = preprocess_from_json(need("preprocess"), where, !ours);
  return info;
}

ModelInfo info_of_checkpoint(const SafeTensors& file, const std::string& where) {
  const auto format = file.metadata.find("format");
  if (format == file.metadata.end())
    throw Error(ErrorCode::kCorrupt, where, "not a fewshift checkpoint: its metadata has no format");
  if (format->second != kCheckpointFormat)
    throw Error(ErrorCode::kUnsupported, where, "is of another format: " + format->second);
  return info_from_metadata(file.metadata, where);
}

Arch arch_of(const ModelInfo& info, const std::string& where) {
  try {
    return make_arch(info.model, static_cast<int>(info.class_names.size()), info.shift);
  } catch (const Error& error) {
    throw Error(ErrorCode::kUnsupported, where, error.what());
  }
}

std::filesystem::path checkpoint_path(const std::filesystem::path& given) {
  if (extension_of(given) == ".onnx")
    throw Error(ErrorCode::kUnsupported, given.string(),
                "is an exported model; here a RUN folder or a .safetensors checkpoint is wanted");
  if (!std::filesystem::is_directory(given)) return given;
  for (const char* name : {"best.safetensors", "last.safetensors"}) {
    if (std::filesystem::exists(given / name)) return given / name;
  }
  throw Error(
      ErrorCode::kNotFound, given.string(),
      "holds neither best.safetensors nor last.safetensors: no epoch of it has ended yet, or it is no run");
}

}  // namespace fewshift
