// SPDX-License-Identifier: Apache-2.0
#include "train/initial.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "train/checkpoint.h"

namespace fewshift {
namespace {

constexpr const char* kLast = "classifier.linear.";

bool same_classes(const SafeTensors& file, const std::vector<std::string>& class_names) {
  const auto found = file.metadata.find("class_names");
  return found != file.metadata.end() &&
         nlohmann::json::parse(found->second, nullptr, false) == nlohmann::json(class_names);
}

std::string listed(const std::vector<std::string>& names) {
  constexpr size_t kMost = 6;
  std::string text;
  for (size_t k = 0; k < std::min(kMost, names.size()); ++k) text += (k ? ", " : "") + names[k];
  if (names.size() > kMost) text += " and " + std::to_string(names.size() - kMost) + " more";
  return text;
}

}  // namespace

SafeTensors read_initial(const std::filesystem::path& from) {
  try {
    return read_safetensors(checkpoint_path(from));
  } catch (const Error& error) {
    throw Error(error.code(), "--init", error.what());
  }
}

std::string take_initial(const SafeTensors& file, const std::string& from,
                         const std::vector<std::string>& class_names, bool shifts, Network& network) {
  torch::NoGradGuard no_grad;
  const bool last = same_classes(file, class_names);
  std::vector<std::string> anew, lost;  // lost: displacements among them
  size_t taken = 0;
  auto take = [&](const std::string& name, torch::Tensor tensor) {
    const bool shift = name.ends_with(".displacement") || name.ends_with(".start");
    const auto found = file.tensors.find(name);
    const RawTensor own = to_raw(tensor);
    if (found == file.tensors.end() || found->second.shape != own.shape || found->second.dtype != own.dtype ||
        (shift && !shifts) || (name.starts_with(kLast) && !last)) {
      anew.push_back(name);
      if (shifts && name.ends_with(".displacement")) lost.push_back(name);
      return;
    }
    tensor.copy_(from_raw(found->second));
    ++taken;
  };
  for (const auto& item : network->named_parameters()) take(item.key(), item.value());
  for (const auto& item : network->named_buffers()) take(item.key(), item.value());
  if (taken < anew.size()) {
    throw Error(ErrorCode::kInvalidArgument, "--init " + from,
                "fits only " + std::to_string(taken) + " of this network's " +
                    std::to_string(taken + anew.size()) + " tensors: it is another network's");
  }
  if (!lost.empty()) {
    throw Error(
        ErrorCode::kInvalidArgument, "--init " + from,
        "has no " + lost[0] + " of this network's shape; --set shift.init=new learns the shifts anew");
  }
  for (const NamedShift& named : network->shifts()) {
    if (shifts) named.layer->start.copy_(named.layer->displacement);
  }
  return "took " + std::to_string(taken) + " of " + std::to_string(taken + anew.size()) + " tensors from " +
         from + (anew.empty() ? "" : "; made anew: " + listed(anew));
}

}  // namespace fewshift
