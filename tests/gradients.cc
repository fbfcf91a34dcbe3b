// One training step of a network, with everything that went in and came out, for tests/networks_test.py.
// usage: gradients MODEL SHIFT SIZE float32|float64 OUT.safetensors
// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include <cstdlib>
#include <string>

#include "train/checkpoint.h"
#include "train/network_start.h"

int main(int argc, char** argv) {
  using namespace fewshift;
  if (argc != 6) return 2;
  const int64_t size = std::atoi(argv[3]);
  at::set_num_threads(1);
  Recipe recipe;
  recipe.model = argv[1];
  recipe.shift = argv[2];
  recipe.seed = 1;
  Network network(arch_of(recipe, 5), 1);
  start_network(recipe, {}, false, network);
  for (const auto& module : network->modules(false)) {
    if (auto* dropout = module->as<torch::nn::Dropout>()) dropout->eval();
  }

  const auto type = std::string(argv[4]) == "float64" ? torch::kDouble : torch::kFloat;
  network->to(type);

  torch::manual_seed(2);
  const torch::Tensor input = torch::randn({4, 3, size, size}).to(type),
                      labels = torch::randint(5, {4}, torch::kLong);
  SafeTensors file;
  for (const auto& item : network->named_parameters()) {
    file.tensors["parameter." + item.key()] = to_raw(item.value());
  }
  const torch::Tensor logits = network->forward(input), loss = torch::cross_entropy_loss(logits, labels);
  loss.backward();
  for (const auto& item : network->named_parameters()) {
    if (item.value().grad().defined()) file.tensors["gradient." + item.key()] = to_raw(item.value().grad());
  }
  for (const auto& item : network->named_buffers())
    file.tensors["buffer." + item.key()] = to_raw(item.value());
  file.tensors["input"] = to_raw(input);
  file.tensors["labels"] = to_raw(labels);
  file.tensors["logits"] = to_raw(logits);
  file.tensors["loss"] = to_raw(loss);
  write_safetensors(argv[5], file);
}
