// The networks that have a name.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "arch/arch.h"

namespace fewshift {

struct RegistryEntry {
  std::string name;
  int classes = 1000;           // by default
  double published_params = 0;  // 0 where no paper or design names them
  double published_madds = 0;
};

// In the order in which `fewshift models` prints them.
std::vector<RegistryEntry> registry();

// The network `name` for so many classes (0: its default), its spatial operator `shift` (arch/spatial.h; of
// no meaning to a network without one). Throws Error (kNotFound), naming close names.
Arch make_arch(const std::string& name, int classes = 0, const std::string& shift = "ssl");

// Another one, from a program of one's own: see docs/adding_a_model.md.
void add_model(const RegistryEntry& entry, std::function<Arch(int classes)> make);

}  // namespace fewshift
