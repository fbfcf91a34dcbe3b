// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>
#include <string>

#include "html/atlas.h"
#include "model/info.h"

namespace fewshift::cli {

struct InspectOptions {
  std::string path, html, picture;
  bool as_json = false;
};

int inspect_onnx(const InspectOptions& options);
int inspect_run(const InspectOptions& options);

// The shift atlas of MODEL.onnx, its shifts' cost measured on the engine. Throws Error, naming the file,
// where it is no network of ours.
html::Atlas atlas_of_onnx(const InspectOptions& options);

// --picture, as the network sees it; nothing if none was named.
std::optional<Image> atlas_picture(const InspectOptions& options, const Preprocess& preprocess);
void write_atlas(const InspectOptions& options, const html::Atlas& atlas);

}  // namespace fewshift::cli
