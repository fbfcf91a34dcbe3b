// The commands of `fewshift`. Each function declares its options on `command` and returns what to run once
// they are parsed; what that returns is the exit code. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <string>
#include <utility>

#include "core/error.h"

namespace CLI {
class App;
}

namespace fewshift::cli {

using Action = std::function<int()>;

// Exit codes, for scripts.
constexpr int kDone = 0, kFailed = 1, kUsage = 2, kDiffers = 3, kInterrupted = 130;

// A command line that is wrong, as against what it names.
struct UsageError : Error {
  UsageError(std::string where, const std::string& message)
      : Error(ErrorCode::kInvalidArgument, std::move(where), message) {}
};

// Runs it; what it throws becomes one line on standard error. The exit code.
int tell(const Action& action);

// "fewshift", or the name of the program that it is part of.
const std::string& program_name();

Action models_command(CLI::App& command);
Action train_command(CLI::App& command);
Action eval_command(CLI::App& command);
Action predict_command(CLI::App& command);
Action compare_command(CLI::App& command);
Action inspect_command(CLI::App& command);
Action export_command(CLI::App& command);
Action run_command(CLI::App& command);
Action annotate_command(CLI::App& command);
Action verify_command(CLI::App& command);
Action bench_command(CLI::App& command);
Action data_command(CLI::App& command);
Action report_command(CLI::App& command);

}  // namespace fewshift::cli
