// SPDX-License-Identifier: Apache-2.0
#include "train/run_state.h"

#include <map>

#include "core/error.h"
#include "core/file.h"
#include "train/checkpoint.h"

namespace fewshift {
namespace {

std::string instead(const RunFiles& files) {
  return "; to go on from its weights, begin another run with --init " + files.folder().string();
}

// Whether they are the pictures that the run began with; what is to be said of them, or nothing.
std::string check_data(const std::map<std::string, std::string>& state, const std::string& data_option,
                       const DataIdentity& now) {
  const auto then = [&](const char* key) {
    const auto found = state.find(key);
    return found == state.end() ? std::string() : found->second;  // the states of older versions have fewer
  };
  if (state.at("data") != now.labels)
    throw Error(ErrorCode::kInvalidArgument, data_option,
                "its pictures or classes are not those that the run began with");
  if (const std::string sizes = then("data_sizes"); !sizes.empty() && sizes != now.sizes)
    throw Error(
        ErrorCode::kInvalidArgument, data_option,
        "its pictures have other names or sizes than those that the run began with: some were replaced");
  if (then("data_folder") == now.folder && then("data_times") != now.times)
    return data_option +
           ": files were written since the run was saved; if their pictures are others, the result is not "
           "that of a run that was never stopped";
  return "";
}

}  // namespace

SafeTensors state_of(Learning& learning, const RunProgress& progress, const std::string& model,
                     const DataIdentity& data) {
  SafeTensors state;
  put_network(learning.network, "network.", state);
  if (learning.average) put_network(learning.average, "average.", state);
  learning.optimiser.put("optimiser.", state);
  for (const auto& [name, tensor] : learning.learner.state())
    state.tensors["learner." + name] = to_raw(tensor);
  state.metadata["model"] = model;
  state.metadata["data"] = data.labels;
  state.metadata["data_sizes"] = data.sizes;
  state.metadata["data_times"] = data.times;
  state.metadata["data_folder"] = data.folder;
  state.metadata["progress"] = to_json(progress);
  return state;
}

std::string read_state(const RunFiles& files) {
  if (std::filesystem::exists(files.state())) {
    std::string bytes = read_file(files.state());
    if (bytes.empty()) throw Error(ErrorCode::kCorrupt, files.state().string(), "is empty" + instead(files));
    return bytes;
  }
  for (const auto& file : {files.best(), files.last(), files.metrics()}) {
    if (std::filesystem::exists(file))
      throw Error(ErrorCode::kNotFound, files.state().string(),
                  "is missing, so that the run cannot be continued" + instead(files));
  }
  return "";
}

std::string take_state(const std::string& bytes, const RunFiles& files, const Recipe& recipe,
                       const DataIdentity& data, Learning& learning, RunProgress& progress) {
  const std::string where = files.state().string();
  try {
    const SafeTensors state = parse_safetensors(bytes, where);
    progress = run_progress_from_json(state.metadata.at("progress"));
    if (state.metadata.at("model") != recipe.model) {
      throw Error(ErrorCode::kCorrupt, where,
                  "is of the model " + state.metadata.at("model") + ", not " + recipe.model);
    }
    const std::string remark = check_data(state.metadata, "--data " + recipe.data, data);
    take_network(state, "network.", where, learning.network);
    if (learning.average) take_network(state, "average.", where, learning.average);
    learning.optimiser.take(state, "optimiser.");
    std::map<std::string, torch::Tensor> shifts;
    for (const auto& [name, raw] : state.tensors) {
      if (name.starts_with("learner.")) shifts[name.substr(8)] = from_raw(raw);
    }
    learning.learner.load_state(shifts);
    return remark;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCorrupt) throw;
    throw Error(ErrorCode::kCorrupt, where, error.message() + instead(files));
  } catch (const std::exception&) {
    throw Error(ErrorCode::kCorrupt, where, "is not the state of this run" + instead(files));
  }
}

}  // namespace fewshift
