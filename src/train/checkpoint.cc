// SPDX-License-Identifier: Apache-2.0
#include "train/checkpoint.h"

#include <nlohmann/json.hpp>

#include "arch/registry.h"
#include "core/error.h"
#include "core/json_text.h"

namespace fewshift {
namespace {

constexpr const char* kFormat = "fewshift checkpoint 1";

const std::string& need(const SafeTensors& file, const std::string& key, const std::string& where) {
  const auto found = file.metadata.find(key);
  if (found == file.metadata.end()) {
    throw Error(ErrorCode::kCorrupt, where, "not a fewshift checkpoint: its metadata has no " + key);
  }
  return found->second;
}

std::vector<std::string> class_names(const std::string& json, const std::string& where) {
  const auto parsed = nlohmann::json::parse(json, nullptr, false);
  std::vector<std::string> names;
  if (parsed.is_array()) {
    for (const auto& name : parsed) {
      if (name.is_string()) names.push_back(name.get<std::string>());
    }
  }
  if (names.size() < 2 || names.size() != parsed.size()) {
    throw Error(ErrorCode::kCorrupt, where, "metadata class_names is not a list of at least two names");
  }
  return names;
}

Arch arch_of(const ModelInfo& info, const std::string& where) {
  try {
    return make_arch(info.model, static_cast<int>(info.class_names.size()), info.shift);
  } catch (const Error& error) {
    throw Error(ErrorCode::kUnsupported, where, error.what());
  }
}

// f(name, tensor) over parameters, then buffers.
template <class F>
void for_each_tensor(const Network& network, F f) {
  for (const auto& item : network->named_parameters()) f(item.key(), item.value());
  for (const auto& item : network->named_buffers()) f(item.key(), item.value());
}

}  // namespace

RawTensor to_raw(const torch::Tensor& tensor) {
  const torch::Tensor plain = tensor.detach().cpu().contiguous();
  RawTensor raw;
  raw.dtype = plain.scalar_type() == torch::kFloat    ? "F32"
              : plain.scalar_type() == torch::kDouble ? "F64"
                                                      : "I64";
  TORCH_CHECK(raw.dtype != "I64" || plain.scalar_type() == torch::kLong, "to_raw: unsupported type");
  raw.shape = plain.sizes().vec();
  raw.bytes.assign(static_cast<const char*>(plain.const_data_ptr()), plain.nbytes());
  return raw;
}

torch::Tensor from_raw(const RawTensor& raw) {
  const auto type = raw.dtype == "F32" ? torch::kFloat : raw.dtype == "F64" ? torch::kDouble : torch::kLong;
  torch::Tensor tensor = torch::empty(raw.shape, type);
  std::copy(raw.bytes.begin(), raw.bytes.end(), static_cast<char*>(tensor.mutable_data_ptr()));
  return tensor;
}

void put_network(const Network& network, const std::string& prefix, SafeTensors& file) {
  for_each_tensor(network, [&](const std::string& name, const torch::Tensor& tensor) {
    file.tensors[prefix + name] = to_raw(tensor);
  });
}

void take_network(const SafeTensors& file, const std::string& prefix, const std::string& where,
                  Network& network) {
  torch::NoGradGuard no_grad;
  auto fail = [&](const std::string& what) { throw Error(ErrorCode::kCorrupt, where, what); };
  size_t taken = 0, there = 0;
  for_each_tensor(network, [&](const std::string& name, torch::Tensor tensor) {
    const auto found = file.tensors.find(prefix + name);
    if (found == file.tensors.end()) fail("tensor " + name + " is missing: a checkpoint of another model?");
    const RawTensor& raw = found->second;
    const RawTensor own = to_raw(tensor);
    if (raw.shape != own.shape || raw.dtype != own.dtype) {
      fail("tensor " + name +
           " is of another shape or type than the model's: a checkpoint of another model?");
    }
    tensor.copy_(from_raw(raw));
    ++taken;
  });
  for (const auto& [name, raw] : file.tensors) there += name.starts_with(prefix);
  if (there != taken) fail("has tensors that the model has not: a checkpoint of another model?");
}

void save_model(const std::filesystem::path& path, const Network& network, const ModelInfo& info) {
  SafeTensors file;
  put_network(network, "", file);
  file.metadata = info.notes;
  file.metadata["format"] = kFormat;
  file.metadata["model"] = info.model;
  file.metadata["shift"] = info.shift;
  file.metadata["class_names"] = json_text(nlohmann::json(info.class_names));
  file.metadata["preprocess"] = to_json(info.preprocess);
  write_safetensors(path, file);
}

std::filesystem::path checkpoint_path(const std::filesystem::path& given) {
  if (!std::filesystem::is_directory(given)) return given;
  for (const char* name : {"best.safetensors", "last.safetensors"}) {
    if (std::filesystem::exists(given / name)) return given / name;
  }
  throw Error(
      ErrorCode::kNotFound, given.string(),
      "holds neither best.safetensors nor last.safetensors: no epoch of it has ended yet, or it is no run");
}

TrainedModel load_model(const std::filesystem::path& given) {
  const std::filesystem::path path = checkpoint_path(given);
  const std::string where = path.string();
  const SafeTensors file = read_safetensors(path);
  if (need(file, "format", where) != kFormat) {
    throw Error(ErrorCode::kUnsupported, where, "is of another format: " + file.metadata.at("format"));
  }
  TrainedModel model;
  model.path = path;
  model.info.notes = file.metadata;
  for (const char* key : {"format", "model", "shift", "class_names", "preprocess"})
    model.info.notes.erase(key);
  model.info.model = need(file, "model", where);
  if (const auto shift = file.metadata.find("shift"); shift != file.metadata.end()) {
    model.info.shift = shift->second;
  }
  model.info.class_names = class_names(need(file, "class_names", where), where);
  model.info.preprocess = preprocess_from_json(need(file, "preprocess", where), where);
  model.network = Network(arch_of(model.info, where), 0);
  take_network(file, "", where, model.network);
  model.network->eval();
  return model;
}

}  // namespace fewshift
