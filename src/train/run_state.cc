// SPDX-License-Identifier: Apache-2.0
#include "train/run_state.h"

#include <map>

#include "core/error.h"
#include "train/checkpoint.h"

namespace fewshift {

SafeTensors state_of(Learning& learning, const RunProgress& progress, const std::string& model,
                     const std::string& data) {
  SafeTensors state;
  put_network(learning.network, "network.", state);
  if (learning.average) put_network(learning.average, "average.", state);
  learning.optimiser.put("optimiser.", state);
  for (const auto& [name, tensor] : learning.learner.state())
    state.tensors["learner." + name] = to_raw(tensor);
  state.metadata["model"] = model;
  state.metadata["data"] = data;
  state.metadata["progress"] = to_json(progress);
  return state;
}

void take_state(const SafeTensors& state, const std::string& model, const std::string& data,
                const std::string& where, const std::string& data_option, Learning& learning,
                RunProgress& progress) {
  try {
    progress = run_progress_from_json(state.metadata.at("progress"));
    if (state.metadata.at("model") != model) {
      throw Error(ErrorCode::kCorrupt, where,
                  "is of the model " + state.metadata.at("model") + ", not " + model);
    }
    if (state.metadata.at("data") != data) {
      throw Error(ErrorCode::kInvalidArgument, data_option,
                  "its pictures or classes are not those that the run began with");
    }
    take_network(state, "network.", where, learning.network);
    if (learning.average) take_network(state, "average.", where, learning.average);
    learning.optimiser.take(state, "optimiser.");
    std::map<std::string, torch::Tensor> shifts;
    for (const auto& [name, raw] : state.tensors) {
      if (name.starts_with("learner.")) shifts[name.substr(8)] = from_raw(raw);
    }
    learning.learner.load_state(shifts);
  } catch (const Error&) {
    throw;
  } catch (const std::exception&) {
    throw Error(ErrorCode::kCorrupt, where, "is not the state of this run");
  }
}

}  // namespace fewshift
