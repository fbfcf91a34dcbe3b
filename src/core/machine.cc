// SPDX-License-Identifier: Apache-2.0
#include "core/machine.h"

#include <sys/utsname.h>

#include <algorithm>
#include <fstream>

#include "core/cores.h"

namespace fewshift {

std::string machine_name() {
  std::string name;
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; name.empty() && std::getline(info, line);) {
    if (line.starts_with("model name")) name = line.substr(std::min(line.find(": ") + 2, line.size()));
  }
  utsname system{};
  if (name.empty() && uname(&system) == 0) name = system.machine;
  return name + ", " + std::to_string(cores()) + (cores() == 1 ? " processor" : " processors");
}

}  // namespace fewshift
