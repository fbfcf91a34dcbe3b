// SPDX-License-Identifier: Apache-2.0
#include "core/error.h"
#include "graph/onnx/fields.h"
#include "graph/onnx/onnx.h"
#include "graph/onnx/protozero.h"

namespace fewshift::graph {

std::string annotate_onnx(std::string_view bytes, const std::string& where,
                          const std::map<std::string, std::string>& entries) {
  std::string result;
  try {
    protozero::pbf_reader in(bytes.data(), bytes.size());
    const char* begin = bytes.data();
    while (in.next()) {
      bool replaced = false;
      if (in.tag() == onnx::model::kMetadata) {
        protozero::pbf_reader entry = in.get_message();
        while (entry.next()) {
          if (entry.tag() == onnx::entry::kKey) {
            replaced = entries.contains(entry.get_string());
          } else {
            entry.skip();
          }
        }
      } else {
        in.skip();
      }
      const char* end = bytes.data() + (bytes.size() - in.length());
      if (!replaced) result.append(begin, end);
      begin = end;
    }
  } catch (const onnx::WrongType& error) {
    throw Error(ErrorCode::kCorrupt, where, "is no ONNX model (" + std::string(error.what()) + ")");
  } catch (const protozero::exception& error) {
    throw Error(ErrorCode::kCorrupt, where,
                "is no ONNX model, or cut off (" + std::string(error.what()) + ")");
  }
  protozero::pbf_writer out(result);
  for (const auto& [key, text] : entries) {
    protozero::pbf_writer entry(out, onnx::model::kMetadata);
    entry.add_string(onnx::entry::kKey, key);
    entry.add_string(onnx::entry::kValue, text);
  }
  return result;
}

}  // namespace fewshift::graph
