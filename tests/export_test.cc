// Networks of every family as graphs, through an ONNX file and back, against LibTorch.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "arch/registry.h"
#include "arch/spatial.h"
#include "export/lower.h"
#include "graph/interpreter.h"
#include "graph/onnx/onnx.h"
#include "graph/passes/passes.h"
#include "train/checkpoint.h"
#include "train/network_start.h"

namespace fewshift {
namespace {

// Weights, and statistics that are not those of a fresh batch norm.
SafeTensors trained(Network& network) {
  torch::NoGradGuard no_grad;
  SafeTensors file;
  for (const auto& item : network->named_buffers()) {
    if (item.key().ends_with("running_mean")) item.value().normal_(0, 0.2);
    if (item.key().ends_with("running_var")) item.value().uniform_(0.5, 1.5);
    file.tensors[item.key()] = to_raw(item.value());
  }
  for (const auto& item : network->named_parameters()) {
    if (item.key().ends_with("norm.weight")) item.value().uniform_(0.5, 1.5);
    if (item.key().ends_with("bias")) item.value().normal_(0, 0.2);
    file.tensors[item.key()] = to_raw(item.value());
  }
  return file;
}

void expect_equal(const std::string& model, const std::string& shift, int64_t size, int64_t batch) {
  const std::string what = model + " " + shift + " at " + std::to_string(size);
  Recipe recipe;
  recipe.model = model;
  recipe.shift = shift;
  recipe.reach = 2.5;
  recipe.seed = 3;
  const Arch arch = arch_of(recipe, 7);
  Network network(arch, 3);
  start_network(recipe, {}, false, network);
  const SafeTensors file = trained(network);
  network->eval();
  torch::NoGradGuard no_grad;
  const torch::Tensor x = torch::randn({batch, 3, size, size});
  const torch::Tensor expected = network->forward(x);

  graph::Graph g = lower(arch, weights_of(file, "memory"), static_cast<int>(size));
  graph::fold_batch_norm(g);
  g = graph::parse_onnx(graph::format_onnx(g), what);
  graph::recognise_shift(g);
  graph::recognise_functions(g);
  const graph::Tensor input{{batch, 3, size, size},
                            std::vector<float>(x.data_ptr<float>(), x.data_ptr<float>() + x.numel())};
  const graph::Tensor y = graph::interpret(g, input);
  ASSERT_EQ(y.dims, (graph::Dims{batch, 7})) << what;
  const torch::Tensor ours = torch::from_blob(const_cast<float*>(y.values.data()), {batch, 7});
  const double range = (expected.max() - expected.min()).item<double>();
  EXPECT_LT((ours - expected).abs().max().item<double>(), 1e-4 * range) << what;
}

TEST(Export, EveryFamilyComputesTheSame) {
  for (const RegistryEntry& entry : registry()) {
    const std::string& name = entry.name;
    const bool large = name.find("110") != std::string::npos || name.find("resnet56") != std::string::npos ||
                       name.ends_with("_e6") || name.ends_with("_e9") ||
                       name.find("0.75") != std::string::npos || name.find("1.5") != std::string::npos ||
                       name.find("1.375") != std::string::npos || name.ends_with("_1.4") ||
                       name.ends_with("_2.0") || name.find("1.4_cifar") != std::string::npos ||
                       name.find("2.0_cifar") != std::string::npos;
    if (!large) expect_equal(name, "ssl", make_arch(name).size > 32 ? 32 : 16, 1);
  }
}

TEST(Export, EverySpatialOperatorComputesTheSame) {
  for (const SpatialOperator& op : spatial_operators()) {
    expect_equal("shiftresnet20_e1", op.name, 15, 2);
    expect_equal("fenet_cifar_se_0.5", op.name, 17, 2);
  }
}

TEST(Export, OddSizesAndBatches) {
  for (const char* model : {"fenet_0.5", "resnet20", "shufflenet_v2_0.5", "mobilenet_v2_0.5_cifar"}) {
    expect_equal(model, "ssl", 33, 3);
    expect_equal(model, "ssl", 27, 8);
  }
}

}  // namespace
}  // namespace fewshift
