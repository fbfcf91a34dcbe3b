// The numbers of ONNX's protocol buffer fields that are used here (onnx.proto).
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

namespace fewshift::graph::onnx {

namespace model {
enum : uint32_t { kIrVersion = 1, kProducer = 2, kGraph = 7, kOpset = 8, kMetadata = 14 };
}
namespace opset {
enum : uint32_t { kDomain = 1, kVersion = 2 };
}
namespace entry {
enum : uint32_t { kKey = 1, kValue = 2 };
}
namespace graph_field {
enum : uint32_t { kNode = 1, kName = 2, kInitializer = 5, kInput = 11, kOutput = 12, kSparse = 15 };
}
namespace node {
enum : uint32_t { kInput = 1, kOutput = 2, kName = 3, kOpType = 4, kAttribute = 5, kDomain = 7 };
}
namespace attribute {
enum : uint32_t {
  kName = 1,
  kFloat = 2,
  kInt = 3,
  kString = 4,
  kTensor = 5,
  kFloats = 7,
  kInts = 8,
  kType = 20
};
enum : int32_t {
  kTypeFloat = 1,
  kTypeInt = 2,
  kTypeString = 3,
  kTypeTensor = 4,
  kTypeFloats = 6,
  kTypeInts = 7
};
}  // namespace attribute
namespace tensor {
enum : uint32_t {
  kDims = 1,
  kType = 2,
  kFloats = 4,
  kInt32s = 5,
  kInts = 7,
  kName = 8,
  kRaw = 9,
  kDoubles = 10,
  kExternal = 13,
  kLocation = 14
};
enum : int32_t {
  kTypeFloat = 1,
  kTypeInt32 = 6,
  kTypeInt64 = 7,
  kTypeBool = 9,
  kTypeFloat16 = 10,
  kTypeDouble = 11
};
}  // namespace tensor
namespace value {
enum : uint32_t { kName = 1, kType = 2 };
enum : uint32_t { kTensorType = 1 };           // of the type
enum : uint32_t { kElement = 1, kShape = 2 };  // of the tensor's type
enum : uint32_t { kDim = 1 };                  // of the shape
enum : uint32_t { kSize = 1, kSymbol = 2 };    // of a dimension
}  // namespace value

}  // namespace fewshift::graph::onnx
