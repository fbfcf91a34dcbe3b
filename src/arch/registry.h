// The networks that have a name.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <vector>

#include "arch/arch.h"

namespace fewshift {

struct RegistryEntry {
  std::string name;
  int classes;              // by default
  double published_params;  // 0 where no paper or design names them
  double published_madds;
};

// In the order in which `fewshift models` prints them.
const std::vector<RegistryEntry>& registry();

// The network `name` for so many classes (0: its default). Throws Error (kNotFound), naming close names.
Arch make_arch(const std::string& name, int classes = 0);

}  // namespace fewshift
