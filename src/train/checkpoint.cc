// SPDX-License-Identifier: Apache-2.0
#include "train/checkpoint.h"

#include <algorithm>

#include "core/error.h"

namespace fewshift {
namespace {

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
  file.metadata = to_metadata(info);
  file.metadata["format"] = kCheckpointFormat;
  write_safetensors(path, file);
}

TrainedModel load_model(const std::filesystem::path& given) {
  const std::filesystem::path path = checkpoint_path(given);
  const std::string where = path.string();
  const SafeTensors file = read_safetensors(path);
  TrainedModel model;
  model.path = path;
  model.info = info_of_checkpoint(file, where);
  model.network = Network(arch_of(model.info, where), 0);
  take_network(file, "", where, model.network);
  model.network->eval();
  return model;
}

Logits logits_of(const Network& network, int size) {
  return [network = Network(network), size](const float* pictures, int64_t count, float* logits) mutable {
    torch::NoGradGuard no_grad;
    const torch::Tensor images =
        torch::from_blob(const_cast<float*>(pictures), {count, size, size, 3}, torch::kFloat)
            .permute({0, 3, 1, 2})
            .to(network->parameters()[0].device());
    const torch::Tensor result = network->forward(images).cpu().contiguous();
    std::copy_n(result.data_ptr<float>(), result.numel(), logits);
  };
}

TrainedClassifier classifier_of(const TrainedModel& model) {
  return {model.info, logits_of(model.network, model.info.preprocess.size)};
}

}  // namespace fewshift
