// Graphs as ONNX files: standard operators only, opset 13, so that any runtime reads them.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <filesystem>
#include <string>

#include "core/file.h"
#include "graph/graph.h"
#include "graph/limits.h"

namespace fewshift::graph {

// The bytes of the file. The batch is symbolic. A Shift becomes a depthwise Conv with one weight of 1 a
// channel, GELU its five operators; the rest has its like.
std::string format_onnx(const Graph& graph);
// Atomically (see write_file_atomic).
void write_onnx(const std::filesystem::path& path, const Graph& graph);

// The graph in the bytes of a file. Throws Error naming `where` and the node or tensor: kCorrupt for what is
// no ONNX or does not fit together, kUnsupported for opsets, operators, attributes and types that are not
// read here, for what computes across the pictures of a batch, and beyond the limits. Constants stay where
// they lie in the bytes, moved by as much as they need to lie as floats do. Sizes that the file computes are
// computed: no node of the graph has to do with them.
Graph parse_onnx(AlignedBytes bytes, const std::string& where, const Limits& limits = {});
Graph parse_onnx(std::string_view bytes, const std::string& where, const Limits& limits = {});  // of a copy
Graph read_onnx(const std::filesystem::path& path, const Limits& limits = {});

// The bytes of a file with these metadata, in place of those of the same keys. Throws Error (kCorrupt) naming
// `where`.
std::string annotate_onnx(std::string_view bytes, const std::string& where,
                          const std::map<std::string, std::string>& entries);

}  // namespace fewshift::graph
