// ONNX files: what is written is read back and computes the same; broken ones are refused.
// SPDX-License-Identifier: Apache-2.0
#include "graph/onnx/onnx.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"
#include "graph/interpreter.h"
#include "graph/passes/passes.h"

namespace fewshift::graph {
namespace {

Tensor random_tensor(const Dims& dims, Random& random) {
  Tensor tensor{dims, std::vector<float>(elements(dims))};
  for (float& value : tensor.values) value = static_cast<float>(random.normal());
  return tensor;
}

void expect_close(const Tensor& a, const Tensor& b, double tolerance) {
  ASSERT_EQ(a.dims, b.dims);
  for (size_t k = 0; k < a.values.size(); ++k) ASSERT_NEAR(a.values[k], b.values[k], tolerance) << k;
}

// Something of every operator.
Graph small(Random& random) {
  Graph g;
  g.name = "small";
  g.input_dims = {-1, 3, 7, 6};
  g.metadata = {{"class_names", "[\"a\",\"b\"]"}, {"empty", ""}};
  auto constant = [&](const std::string& name, const Dims& dims) {
    return g.add_value(name, random_tensor(dims, random));
  };
  int x = g.input = g.add_value("image");
  x = g.add("stem", Conv{{3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}, {x, constant("stem.weight", {8, 3, 3, 3})});
  Tensor variance = random_tensor({8}, random);
  for (float& value : variance.values) value = value * value + 0.1f;
  x = g.add("norm", BatchNorm{1e-3f},
            {x, constant("norm.scale", {8}), constant("norm.bias", {8}), constant("norm.mean", {8}),
             g.add_value("norm.variance", variance)});
  x = g.add("relu6", Unary{Function::kClip, 0, 6}, {x});
  Shift shift;
  shift.moves = {{0, 0}, {1, -1}, {-2, 0}, {0, 3}, {6, 0}, {0, -50}, {1 << 20, 0}, {-1, 1}};
  x = g.add("shift", shift, {x});
  const int gate = g.add("gate", Unary{Function::kHardSigmoid}, {g.add("mean", GlobalAverage{}, {x})});
  x = g.add("gated", Mul{}, {x, gate});
  x = g.add("gelu", Unary{Function::kGelu}, {x});
  x = g.add("pool", Pool{true, {3, 3}, {2, 2}, {1, 1}, {1, 1}}, {x});
  const int half = g.add("half", Slice{1, 4, 100, 1}, {x});
  x = g.add("joined", Concat{1}, {half, g.add("more", Unary{Function::kHardSwish}, {x})});
  x = g.add("padded", Pad{{0, 0, 1, 0}, {0, 2, 0, 0}}, {x});
  x = g.add("average", Pool{false, {2, 2}, {1, 1}}, {x});
  x = g.add("split", Reshape{{0, 2, 7, 4, 2}}, {x});
  x = g.add("turned", Transpose{{0, 2, 1, 3, 4}}, {x});
  x = g.add("back", Reshape{{0, 14, 4, 2}}, {x});
  x = g.add("sum", Add{}, {x, x});
  x = g.add("flat", Reshape{{0, -1}}, {x});
  x = g.add("linear", Linear{}, {x, constant("linear.weight", {4, 112}), constant("linear.bias", {4})});
  g.output = g.add("softmax", Unary{Function::kSoftmax}, {x});
  return g;
}

TEST(Onnx, ReadsWhatItWrites) {
  Random random{1};
  const Graph g = small(random);
  const Tensor x = random_tensor({3, 3, 7, 6}, random);
  const Tensor expected = interpret(g, x);
  Graph back = parse_onnx(format_onnx(g), "memory");
  EXPECT_EQ(back.name, "small");
  EXPECT_EQ(back.metadata, g.metadata);
  EXPECT_EQ(back.input_dims, g.input_dims);
  expect_close(interpret(back, x), expected, 1e-6);
  recognise_shift(back);
  recognise_functions(back);
  expect_close(interpret(back, x), expected, 1e-6);
  fold_batch_norm(back);
  expect_close(interpret(back, x), expected, 1e-6);
  std::map<std::string, int> kinds;
  for (const Node& node : back.nodes) ++kinds[kind(node.op)];
  EXPECT_EQ(kinds["batch norm"], 0);
  EXPECT_EQ(kinds["shift"], 1);
  EXPECT_EQ(back.nodes.size(), g.nodes.size() - 1);  // the norm is gone
}

TEST(Onnx, FoldingLeavesWhatOthersRead) {
  Random random{2};
  Graph g;
  g.input_dims = {-1, 2, 3, 3};
  g.input = g.add_value("x");
  const int y = g.add("conv", Conv{}, {g.input, g.add_value("w", random_tensor({2, 2, 1, 1}, random))});
  std::vector<int> inputs = {y};
  for (int k = 0; k < 4; ++k) inputs.push_back(g.add_value("c", Tensor{{2}, {1.5f, 0.5f}}));
  g.output = g.add("sum", Add{}, {y, g.add("norm", BatchNorm{}, inputs)});
  const Tensor x = random_tensor({1, 2, 3, 3}, random), expected = interpret(g, x);
  fold_batch_norm(g);
  EXPECT_EQ(g.nodes.size(), 3u);
  expect_close(interpret(g, x), expected, 0);
}

// Every cut and many single changed bytes: an error or a graph, never anything else.
TEST(Onnx, BrokenFilesAreRefused) {
  Random random{3};
  const std::string good = format_onnx(small(random));
  EXPECT_THROW(parse_onnx("", "memory"), Error);
  EXPECT_THROW(parse_onnx("no model", "memory"), Error);
  for (size_t length = 0; length < good.size(); length += 1 + random.below(40)) {
    EXPECT_THROW(parse_onnx(good.substr(0, length), "memory"), Error) << length;
  }
  for (int k = 0; k < 3000; ++k) {
    std::string changed = good;
    changed[random.below(changed.size())] = static_cast<char>(random.below(256));
    try {
      parse_onnx(changed, "memory");
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("memory"), std::string::npos) << error.what();
    }
  }
}

TEST(Onnx, WhatIsNotReadIsNamed) {
  Random random{4};
  std::string bytes = format_onnx(small(random));
  const size_t place = bytes.find("HardSigmoid");
  bytes.replace(place, 11, "SoftSigmoid");
  try {
    parse_onnx(bytes, "memory");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_NE(std::string(error.what()).find("SoftSigmoid"), std::string::npos);
  }
}

}  // namespace
}  // namespace fewshift::graph
