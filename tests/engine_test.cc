// Networks of every family and every spatial operator in the engine, held against the plain interpreter.
// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <new>
#include <thread>

#include "arch/registry.h"
#include "arch/spatial.h"
#include "core/error.h"
#include "core/random.h"
#include "export/lower.h"
#include "graph/interpreter.h"
#include "graph/onnx/onnx.h"
#include "graph/passes/passes.h"

namespace {
std::atomic<int64_t> g_allocations{0};
}

void* operator new(size_t size) {
  ++g_allocations;
  if (void* p = std::malloc(size)) return p;
  throw std::bad_alloc();
}
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  ++g_allocations;
  return std::malloc(size);
}
void operator delete(void* p) noexcept {
  std::free(p);
}
void operator delete(void* p, size_t) noexcept {
  std::free(p);
}

namespace fewshift {
namespace {

using engine::Model;
using engine::Session;
using graph::Dims;
using graph::Graph;
using graph::Tensor;

Tensor noise(const Dims& dims, Random& random) {
  Tensor t{dims, {}};
  for (int64_t k = 0; k < graph::elements(dims); ++k)
    t.values.own().push_back(static_cast<float>(random.normal()));
  return t;
}

Graph network(const std::string& model, const std::string& shift, int size, double sparsity = 0.5) {
  Graph g = lower(make_arch(model, 7, shift), random_weights(3, sparsity), size);
  graph::fold_batch_norm(g);
  return graph::parse_onnx(graph::format_onnx(g), model);
}

std::vector<float> compute(const std::shared_ptr<const Model>& model, const Tensor& x, int threads,
                           size_t outputs) {
  Session session(model, x.dims[0], threads);
  std::vector<float> y(outputs, NAN);
  session.run(x.values.data(), y.data());
  const std::vector<float> first = y;
  session.run(x.values.data(), y.data());  // the memory's second use
  EXPECT_EQ(first, y) << "a second run differs";
  return y;
}

void expect_equal(const Graph& g, int64_t batch, int threads, const std::string& what) {
  Random random{7};
  Dims dims = g.input_dims;
  dims[0] = batch;
  const Tensor x = noise(dims, random), expected = graph::interpret(g, x);
  const std::vector<float> y = compute(Model::from(g), x, threads, expected.values.size());
  const auto [low, high] = std::minmax_element(expected.values.begin(), expected.values.end());
  double most = 0;
  for (size_t k = 0; k < y.size(); ++k) most = std::max<double>(most, std::abs(y[k] - expected.values[k]));
  // A map that is the same everywhere has no range.
  const double range = *high > *low ? *high - *low : std::abs(*high);
  EXPECT_LE(most, 1e-4 * range + 1e-6) << what << " batch " << batch << " threads " << threads;
  for (float value : y) ASSERT_FALSE(std::isnan(value)) << what;
}

void expect_equal(const std::string& model, const std::string& shift, int size, int64_t batch, int threads) {
  expect_equal(network(model, shift, size), batch, threads, model + " " + shift + " " + std::to_string(size));
}

TEST(Engine, EveryModelComputesTheSame) {
  for (const RegistryEntry& entry : registry()) {
    const bool deep =
        entry.name.find("110") != std::string::npos || entry.name.find("56_") != std::string::npos;
    if (!deep) expect_equal(entry.name, "ssl", make_arch(entry.name).size > 32 ? 32 : 16, 1, 1);
  }
}

TEST(Engine, EverySpatialOperatorComputesTheSame) {
  for (const SpatialOperator& op : spatial_operators()) {
    expect_equal("shiftresnet20_e1", op.name, 15, 2, 2);
    expect_equal("fenet_cifar_se_0.5", op.name, 17, 3, 2);
    expect_equal("fenet_0.5", op.name, 33, 1, 1);
  }
}

TEST(Engine, OddSizesBatchesAndThreads) {
  for (const char* model :
       {"fenet_0.5", "resnet20", "shufflenet_v2_0.5", "mobilenet_v2_0.5_cifar", "fenet_cifar_se_0.5"}) {
    expect_equal(model, "ssl", 33, 2, 1);
    expect_equal(model, "ssl", 17, 8, 2);
    expect_equal(model, "ssl", 21, 1, 3);
  }
}

TEST(Engine, ThreadsTakeWholePicturesOfABatch) {
  for (const auto& [batch, threads] : {std::pair{2, 2}, {4, 2}, {9, 2}, {3, 3}, {3, 2}, {13, 3}}) {
    expect_equal("fenet_0.5", "ssl", 33, batch, threads);
    expect_equal("mobilenet_v2_0.5", "ssl", 33, batch, threads);
  }
}

// Large enough that units go band by band: with shifts, pools, strides and depthwise convolutions between.
TEST(Engine, UnitsBandByBand) {
  for (int threads : {1, 2, 5}) {
    expect_equal("fenet_0.5", "ssl", 127, 1, threads);
    expect_equal("fenet_1.0", "gsl", 64, 2, threads);
    expect_equal("shiftresnet20_e9", "ssl", 45, 1, threads);
    expect_equal("mobilenet_v2_0.5", "ssl", 96, 1, threads);
  }
}

TEST(Engine, RunsAllocateNothing) {
  for (int threads : {1, 2}) {
    const auto model = Model::from(network("fenet_0.5", "ssl", 32));
    Session session(model, 2, threads);
    std::vector<float> x(2 * 3 * 32 * 32, 0.5f), y(14);
    session.run(x.data(), y.data());
    const int64_t before = g_allocations;
    for (int k = 0; k < 3; ++k) session.run(x.data(), y.data());
    EXPECT_EQ(g_allocations, before) << threads << " threads";
  }
}

TEST(Engine, OneModelServesManySessions) {
  const Graph g = network("fenet_0.5", "ssl", 32);
  Random random{5};
  const Tensor x = noise({1, 3, 32, 32}, random), expected = graph::interpret(g, x);
  const auto model = Model::from(g);
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&] {
      Session session(model, 1, 2);
      std::vector<float> y(7);
      for (int k = 0; k < 20; ++k) {
        session.run(x.values.data(), y.data());
        for (size_t c = 0; c < y.size(); ++c) wrong += std::abs(y[c] - expected.values[c]) > 1e-3;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

// Graphs no network of the registry has: chains of operators at random, on one map.
TEST(Engine, RandomGraphs) {
  for (uint64_t seed = 0; seed < 400; ++seed) {
    Random random{seed};
    auto below = [&](int64_t n) { return static_cast<int64_t>(random.below(n)); };
    Graph g;
    g.name = "random";
    const int64_t size = 1 + below(12);
    g.input_dims = {-1, 1 + below(20), size, 1 + below(12)};
    int x = g.input = g.add_value("image");
    std::vector<int> all = {x};
    const int nodes = 2 + static_cast<int>(below(12));
    for (int k = 0; k < nodes; ++k) {
      g.output = x;
      const std::vector<Dims> dims =
          graph::infer_shapes(g, {1, g.input_dims[1], g.input_dims[2], g.input_dims[3]});
      const Dims d = dims[x];
      const std::string name = "n" + std::to_string(k);
      auto constant = [&](const Dims& shape) { return g.add_value(name + ".c", noise(shape, random)); };
      switch (below(10)) {
        case 0: {  // dense, with neighbours
          const int64_t out = 1 + below(24), kernel = 1 + 2 * below(2), stride = 1 + below(2);
          graph::Conv conv{
              {kernel, kernel}, {stride, stride}, {1, 1}, {kernel / 2, kernel / 2}, {kernel / 2, kernel / 2}};
          x = g.add(name, conv, {x, constant({out, d[1], kernel, kernel}), constant({out})});
          break;
        }
        case 1: {
          const int64_t kernel = 1 + below(5), before = below(kernel), stride = 1 + below(2);
          graph::Conv conv{{kernel, kernel},
                           {stride, stride},
                           {1, 1},
                           {before, before},
                           {kernel - 1 - before, kernel - 1 - before},
                           d[1]};
          x = g.add(name, conv, {x, constant({d[1], 1, kernel, kernel})});
          break;
        }
        case 2: {
          graph::Shift shift;
          shift.stride = 1 + below(2);
          for (int64_t c = 0; c < d[1]; ++c)
            shift.moves.push_back({static_cast<int32_t>(below(9) - 4), static_cast<int32_t>(below(9) - 4)});
          x = g.add(name, shift, {x});
          break;
        }
        case 3:
          x = g.add(name, graph::Unary{static_cast<graph::Function>(below(7)), -0.5f, 1.0f}, {x});
          break;
        case 4: {  // a sum with something earlier, if any is like it
          int other = x;
          for (int v : all) {
            if (dims[v] == d && random.chance(0.6)) other = v;
          }
          if (random.chance(0.5)) x = g.add(name + ".p", graph::Conv{}, {x, constant({d[1], d[1], 1, 1})});
          x = random.chance(0.8) ? g.add(name, graph::Add{}, {x, other})
                                 : g.add(name, graph::Mul{}, {other, x});
          break;
        }
        case 5: {
          const int64_t begin = below(d[1]), end = begin + 1 + below(d[1] - begin);
          const int taken = g.add(name, graph::Slice{1, begin, end, 1}, {x});
          const int mixed =
              g.add(name + ".m", graph::Conv{}, {taken, constant({end - begin, end - begin, 1, 1})});
          const int sum = random.chance(0.7) ? g.add(name + ".s", graph::Add{}, {taken, mixed}) : mixed;
          if (begin == 0) {
            x = sum;
          } else {
            x = g.add(name + ".j", graph::Concat{1},
                      {g.add(name + ".b", graph::Slice{1, 0, begin, 1}, {x}), sum});
          }
          break;
        }
        case 6: {
          graph::Pool pool{
              random.chance(0.5), {2, 2}, {1 + below(2), 1 + below(2)}, {below(2), below(2)}, {1, 1}};
          x = g.add(name, pool, {x});
          break;
        }
        case 7: {
          const int mean = g.add(name + ".a", graph::GlobalAverage{}, {x});
          x = g.add(name, graph::Mul{},
                    {x, g.add(name + ".g", graph::Unary{graph::Function::kSigmoid}, {mean})});
          break;
        }
        case 8:
          if (d[1] % 2 == 0) {
            const int split = g.add(name + ".5", graph::Reshape{{0, 2, d[1] / 2, d[2], d[3]}}, {x});
            x = g.add(name, graph::Reshape{{0, d[1], d[2], d[3]}},
                      {g.add(name + ".t", graph::Transpose{{0, 2, 1, 3, 4}}, {split})});
          }
          break;
        default: {
          int y = x;
          if (d[2] > 1) y = g.add(name + ".r", graph::Slice{2, 0, d[2], 2}, {y});
          x = g.add(name, graph::Pad{{0, below(3), 0, 0}, {0, below(3), 0, 0}}, {y});
          break;
        }
      }
      all.push_back(x);
    }
    if (random.chance(0.6)) {
      g.output = x;
      const int64_t channels =
          graph::infer_shapes(g, {1, g.input_dims[1], g.input_dims[2], g.input_dims[3]})[x][1];
      x = g.add("mean", graph::GlobalAverage{}, {x});
      x = g.add("flat", graph::Reshape{{0, channels}}, {x});
      x = g.add("linear", graph::Linear{},
                {x, g.add_value("w", noise({5, channels}, random)), g.add_value("b", noise({5}, random))});
    }
    g.output = x;
    std::string nodes_of;
    for (const graph::Node& node : g.nodes) {
      nodes_of += "\n  " + node.name + " " + kind(node.op) + " <-";
      for (int v : node.inputs) nodes_of += " " + g.values[v].name;
    }
    expect_equal(g, 1 + below(3), 1 + static_cast<int>(below(2)),
                 "random graph " + std::to_string(seed) + nodes_of);
  }
}

TEST(Engine, RefusesWhatItCannotComputeNamingTheNode) {
  Graph g;
  g.input_dims = {-1, 2, 4, 4};
  g.input = g.add_value("image");
  g.output = g.add("turned", graph::Transpose{{0, 1, 3, 2}}, {g.input});
  try {
    Model::from(g);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("turned"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace fewshift
