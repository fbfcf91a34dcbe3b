// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

namespace fewshift::cli {

int inspect_onnx(const std::string& path, bool as_json);
int inspect_run(const std::string& path, bool as_json);

}  // namespace fewshift::cli
