// What travels with a trained network, in a checkpoint's metadata and an ONNX file's alike.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "image/preprocess.h"

namespace fewshift {

struct ModelInfo {
  std::string model;          // a name of the registry
  std::string shift = "ssl";  // its spatial operator
  std::vector<std::string> class_names;
  Preprocess preprocess;
  std::map<std::string, std::string> notes;  // epoch, val_top1, seed, ...: for people
};

// As metadata, and back. from: throws Error (kCorrupt), naming `where` and the field that is missing or
// malformed.
std::map<std::string, std::string> to_metadata(const ModelInfo& info);
ModelInfo info_from_metadata(const std::map<std::string, std::string>& metadata, const std::string& where);

// `given`, or, where it is a RUN folder, its best.safetensors (else last.safetensors). Throws Error
// (kNotFound).
std::filesystem::path checkpoint_path(const std::filesystem::path& given);

// The `format` of a checkpoint's metadata.
inline constexpr const char* kCheckpointFormat = "fewshift checkpoint 1";

}  // namespace fewshift
