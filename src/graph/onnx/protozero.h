// protozero, with its assertions as exceptions: a field of another type than its number says is the file's
// fault. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <stdexcept>

namespace fewshift::graph::onnx {

struct WrongType : std::runtime_error {
  WrongType() : std::runtime_error("a field is of another type than its number says") {}
};

}  // namespace fewshift::graph::onnx

#define protozero_assert(holds) \
  (static_cast<bool>(holds) ? static_cast<void>(0) : throw fewshift::graph::onnx::WrongType())
#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>
