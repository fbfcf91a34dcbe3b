// fewshift models
// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "arch/count.h"
#include "arch/registry.h"
#include "cli/commands.h"

namespace fewshift::cli {
namespace {

int run(bool json) {
  nlohmann::json list = nlohmann::json::array();
  if (!json) std::printf("%-28s %6s %8s %12s %12s\n", "model", "input", "classes", "parameters", "M-Adds");
  for (const RegistryEntry& entry : registry()) {
    const Arch arch = make_arch(entry.name);
    const Count total = count(arch);
    if (json) {
      list.push_back({{"name", entry.name},
                      {"input", {3, arch.size, arch.size}},
                      {"params", total.params},
                      {"madds", total.madds}});
    } else {
      std::printf("%-28s %3d px %8d %11.3fM %11.1fM\n", entry.name.c_str(), arch.size, entry.classes,
                  static_cast<double>(total.params) / 1e6, static_cast<double>(total.madds) / 1e6);
    }
  }
  if (json) std::cout << list.dump() << '\n';
  return kDone;
}

}  // namespace

Action models_command(CLI::App& command) {
  auto json = std::make_shared<bool>(false);
  command.add_flag("--json", *json, "One JSON list on standard output");
  command.footer(
      "Parameters are those of convolutions, batch norms and linear layers; the displacements, two a "
      "shifted\n"
      "channel, come on top (`fewshift inspect` counts them). M-Adds are multiply-adds of one picture.");
  return [json] { return run(*json); };
}

}  // namespace fewshift::cli
