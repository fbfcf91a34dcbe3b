// Any bytes as a checkpoint, and as a kept table of pictures: an Error, or tensors whose bytes fit their
// shapes, which are the same when they are written and read again. SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/error.h"
#include "data/picture_table.h"
#include "model/info.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fewshift;
  SafeTensors file;
  try {
    file = parse_safetensors(std::string(reinterpret_cast<const char*>(data), size), "fuzz");
  } catch (const Error&) {
    return 0;
  }
  const SafeTensors again = parse_safetensors(format_safetensors(file), "fuzz");  // no Error here
  if (again.metadata != file.metadata || again.tensors.size() != file.tensors.size()) std::abort();
  for (const auto& [name, tensor] : file.tensors) {
    const auto found = again.tensors.find(name);
    if (found == again.tensors.end() || found->second.bytes != tensor.bytes) std::abort();
  }
  try {
    const std::string root = file.metadata.count("of") ? file.metadata.at("of") : "";
    const StampedTable table =
        parse_table(std::string(reinterpret_cast<const char*>(data), size), root, "fuzz");
    size_t names = 0;
    for (size_t k = 0; k < table.table.size(); ++k) {
      names += table.table.name(k).size();
      if (table.table.place(k).file > table.stamps.size() || table.table.label(k) < 0) std::abort();
    }
    if (names > size) std::abort();
  } catch (const Error&) {
  }
  try {
    arch_of(info_of_checkpoint(file, "fuzz"), "fuzz");
  } catch (const Error&) {
  }
  return 0;
}
