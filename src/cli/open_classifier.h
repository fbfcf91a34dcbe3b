// A trained network, whatever it lies in. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <filesystem>
#include <string>

#include "model/evaluate.h"

namespace fewshift::cli {

bool is_onnx(const std::filesystem::path& path);

// MODEL.onnx on the engine; a RUN folder or a checkpoint on LibTorch, where this build has it. threads, 0:
// the free cores.
TrainedClassifier open_classifier(const std::filesystem::path& path, int threads);

// What `run` held out of `data`, where it is a RUN folder and this build reads those; else null.
OwnVal own_val(const std::filesystem::path& run, const std::string& data);

// The pictures that a RUN was trained on, as its recipe names them. Throws Error (kNotFound) for what is no
// run.
std::string data_of_run(const std::filesystem::path& run);

}  // namespace fewshift::cli
