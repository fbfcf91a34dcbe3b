// ONNX Runtime, where a Python that has it is found: FEWSHIFT_PYTHON, else python3. For `fewshift verify`
// alone. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <filesystem>
#include <optional>

#include "core/npy.h"

namespace fewshift::cli {

// None: it is not installed. Throws Error (kUnsupported, naming the model) where it refuses the model.
std::optional<Npy> compute_with_onnx_runtime(const std::filesystem::path& model, const Npy& x);

}  // namespace fewshift::cli
