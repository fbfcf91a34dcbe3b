// Graphs that make no sense are refused, naming the node.
// SPDX-License-Identifier: Apache-2.0
#include "graph/graph.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "graph/interpreter.h"

namespace fewshift::graph {
namespace {

// One node on an input of `dims`, with constants of zeros behind it.
Graph one(const Operator& op, const Dims& dims, const std::vector<Dims>& constants = {}) {
  Graph g;
  g.input_dims = dims;
  g.input = g.add_value("x");
  std::vector<int> inputs = {g.input};
  for (const Dims& c : constants) {
    inputs.push_back(g.add_value("c", Tensor{c, std::vector<float>(elements(c), 0.0f)}));
  }
  g.output = g.add("it", op, inputs);
  return g;
}

Dims shape(const Operator& op, const Dims& dims, const std::vector<Dims>& constants = {}) {
  const Graph g = one(op, dims, constants);
  return infer_shapes(g, dims)[g.output];
}

void expect_refused(const Operator& op, const Dims& dims, const std::vector<Dims>& constants = {}) {
  try {
    shape(op, dims, constants);
    ADD_FAILURE() << kind(op) << " of " << text(dims) << " was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_NE(std::string(error.what()).find("node it"), std::string::npos) << error.what();
  }
}

const Dims kMap = {2, 6, 7, 5};

TEST(Shapes, AreThoseOfTheOperators) {
  EXPECT_EQ(shape(Conv{{3, 3}, {2, 2}, {1, 1}, {1, 1}, {1, 1}}, kMap, {{4, 6, 3, 3}, {4}}),
            (Dims{2, 4, 4, 3}));
  EXPECT_EQ(shape(Conv{{3, 1}, {1, 1}, {2, 1}, {2, 0}, {2, 0}, 3}, kMap, {{9, 2, 3, 1}}), (Dims{2, 9, 7, 5}));
  EXPECT_EQ(shape(Shift{std::vector<std::array<int32_t, 2>>(6), 2}, kMap), (Dims{2, 6, 4, 3}));
  EXPECT_EQ(shape(Pool{true, {3, 3}, {2, 2}, {1, 1}, {1, 1}}, kMap), (Dims{2, 6, 4, 3}));
  EXPECT_EQ(shape(GlobalAverage{}, kMap), (Dims{2, 6, 1, 1}));
  EXPECT_EQ(shape(Mul{}, kMap, {{6, 1, 1}}), kMap);
  EXPECT_EQ(shape(Slice{2, 1, 100, 2}, kMap), (Dims{2, 6, 3, 5}));
  EXPECT_EQ(shape(Pad{{0, 0, 1, 0}, {0, 3, 0, 2}}, kMap), (Dims{2, 9, 8, 7}));
  EXPECT_EQ(shape(Reshape{{0, 2, -1, 5}}, kMap), (Dims{2, 2, 21, 5}));
  EXPECT_EQ(shape(Transpose{{0, 2, 3, 1}}, kMap), (Dims{2, 7, 5, 6}));
  EXPECT_EQ(shape(Concat{1}, kMap, {{2, 3, 7, 5}}), (Dims{2, 9, 7, 5}));
  EXPECT_EQ(shape(Linear{}, {2, 6}, {{3, 6}, {3}}), (Dims{2, 3}));
}

TEST(Shapes, WhatDoesNotFitIsRefused) {
  expect_refused(Conv{{3, 3}}, kMap, {{4, 5, 3, 3}});
  expect_refused(Conv{{3, 3}}, kMap, {{4, 6, 1, 1}});
  expect_refused(Conv{{9, 9}}, kMap, {{4, 6, 9, 9}});
  expect_refused(Conv{{1, 1}, {0, 1}}, kMap, {{4, 6, 1, 1}});
  expect_refused(Conv{{1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, 0}, kMap, {{4, 6, 1, 1}});
  expect_refused(Conv{}, kMap, {{4, 6, 1, 1}, {5}});
  expect_refused(Conv{}, kMap);
  expect_refused(Shift{}, kMap);
  expect_refused(BatchNorm{}, kMap, {{6}, {6}, {6}, {5}});
  expect_refused(Add{}, kMap, {{4}});
  expect_refused(Pool{true, {2, 2}, {1, 1}, {2, 0}, {0, 0}}, kMap);
  expect_refused(Linear{}, {2, 6}, {{3, 7}});
  expect_refused(Concat{4}, kMap, {kMap});
  expect_refused(Concat{1}, kMap, {{2, 3, 7, 6}});
  expect_refused(Slice{1, 6, 7}, kMap);
  expect_refused(Slice{1, 0, 3, 0}, kMap);
  expect_refused(Pad{{0, 0}, {0, 0}}, kMap);
  expect_refused(Pad{{0, -1, 0, 0}, {0, 0, 0, 0}}, kMap);
  expect_refused(Reshape{{0, 11, -1, 5}}, kMap);
  expect_refused(Reshape{{int64_t{1} << 40, -1}}, kMap);
  expect_refused(Transpose{{0, 1, 1, 3}}, kMap);
}

TEST(Shapes, ValuesOutOfOrderAreRefused) {
  Graph g = one(Unary{}, kMap);
  g.nodes[0].inputs[0] = g.output;
  EXPECT_THROW(infer_shapes(g, kMap), Error);
  g = one(Unary{}, kMap);
  g.nodes.push_back(g.nodes[0]);
  EXPECT_THROW(infer_shapes(g, kMap), Error);
  g = one(Unary{}, kMap);
  g.output = 77;
  EXPECT_THROW(infer_shapes(g, kMap), Error);
}

TEST(Interpreter, PoolsSeeWhatLiesInside) {
  const Graph g = one(Pool{false, {3, 3}, {2, 2}, {1, 1}, {1, 1}}, {1, 1, 3, 3});
  const Tensor y = interpret(g, {{1, 1, 3, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9}});
  EXPECT_EQ(y.values, (Floats{3, 4, 6, 7}));
}

}  // namespace
}  // namespace fewshift::graph
