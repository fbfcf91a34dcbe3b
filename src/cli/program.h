// The whole command line as a function, for programs that bring layers or networks of their own.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace fewshift::cli {

// What `fewshift` does with its arguments; returns the exit code. See docs/adding_a_layer.md.
int program(int argc, char** argv);

}  // namespace fewshift::cli
