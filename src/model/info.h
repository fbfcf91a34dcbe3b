// What travels with a trained network, in a checkpoint's metadata and an ONNX file's alike.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "arch/arch.h"
#include "core/safetensors.h"
#include "image/preprocess.h"

namespace fewshift {

struct ModelInfo {
  std::string model;          // a name of the registry
  std::string shift = "ssl";  // its spatial operator
  std::vector<std::string> class_names;
  Preprocess preprocess;
  std::map<std::string, std::string> notes;  // epoch, val_top1, seed, ...: for people
};

// What logits are divided by, for probabilities that are right as often as they say, where training fitted
// it.
std::optional<double> temperature_of(const ModelInfo& info);

// As metadata, and back, from an ONNX file's or a checkpoint's. from: throws Error (kCorrupt), naming `where`
// and the field that is missing or malformed.
std::map<std::string, std::string> to_metadata(const ModelInfo& info);
ModelInfo info_from_metadata(const std::map<std::string, std::string>& metadata, const std::string& where);

// Throws Error too, naming `where`, for what is no checkpoint, or one of another format.
ModelInfo info_of_checkpoint(const SafeTensors& file, const std::string& where);
// The network that it names. Throws Error (kUnsupported), naming `where`, for one that the registry has not.
Arch arch_of(const ModelInfo& info, const std::string& where);

// `given`, or, where it is a RUN folder, its best.safetensors (else last.safetensors). Throws Error
// (kNotFound).
std::filesystem::path checkpoint_path(const std::filesystem::path& given);

// The `format` of a checkpoint's metadata.
inline constexpr const char* kCheckpointFormat = "fewshift checkpoint 1";

}  // namespace fewshift
