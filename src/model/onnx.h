// An ONNX file as a classifier, on the engine. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <filesystem>

#include "engine/engine.h"
#include "model/evaluate.h"

namespace fewshift {

// Whether it takes square RGB pictures and gives a number for each of two classes or more.
bool is_classifier(const engine::Model& model);

// Outputs as logits: where a softmax is the network's last operator, the logarithms of the probabilities, of
// which softmax makes them again.
void to_logits(const engine::Model& model, float* output, int64_t count);

// Class names and preprocessing from the file's metadata; of a file without, numbers and the usual
// preprocessing. Throws Error, naming the file.
ModelInfo info_of(const engine::Model& model, const std::string& where);

// [count][pixels][3] to [count][3][pixels].
void to_planes(const float* pictures, int64_t count, int64_t pixels, float* planes);

// On so many threads, picture by picture.
TrainedClassifier onnx_classifier(const std::filesystem::path& file, int threads);

}  // namespace fewshift
