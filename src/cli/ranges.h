// What numbers an option takes. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <CLI/CLI.hpp>
#include <string>

namespace fewshift::cli {

// As CLI::Range, which lets NaN through.
inline CLI::Validator between(double low, double high) {
  return CLI::Range(low, high) & CLI::Validator(
                                     [](std::string& text) {
                                       double number = 0;
                                       CLI::detail::lexical_cast(text, number);
                                       return number == number ? std::string() : text + " is not a number";
                                     },
                                     "");
}

}  // namespace fewshift::cli
