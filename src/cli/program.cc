// The command line: a table of commands, and the one place where errors become text and exit codes.
// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <new>
#include <sstream>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/program.h"
#include "cli/suggest.h"
#include "cli/waiting.h"
#include "core/error.h"
#include "core/memory.h"

#ifdef FEWSHIFT_TRAIN
#include <c10/util/Exception.h>

#include "train/launch.h"
#endif

namespace fewshift::cli {
namespace {

struct Row {
  const char* name;
  const char* summary;
  Action (*declare)(CLI::App&);
};

#ifndef FEWSHIFT_TRAIN
Action left_out(CLI::App& command) {
  command.allow_extras();
  return [&command]() -> int {
    throw Error(ErrorCode::kUnsupported, command.get_name(),
                "is not in this build, which is without LibTorch (FEWSHIFT_TRAIN)");
  };
}
#endif

const Row kCommands[] = {
    {"models", "List the networks: parameters and multiply-adds", models_command},
#ifdef FEWSHIFT_TRAIN
    {"train", "Train a network on a folder of labelled pictures", train_command},
    {"compare", "Set runs side by side, the seeds of a recipe in one row", compare_command},
    {"report", "Write a page about runs: curves, confusions, mistakes, calibration", report_command},
#else
    {"train", "Not in this build", left_out},
    {"compare", "Not in this build", left_out},
    {"report", "Not in this build", left_out},
#endif
    {"eval", "Measure a trained network on test pictures", eval_command},
    {"predict", "Name what is in pictures", predict_command},
    {"inspect", "Show a network's layers and the shifts it learned", inspect_command},
    {"export", "Write a trained network as one ONNX file", export_command},
    {"annotate", "Write class names and preprocessing into an ONNX file", annotate_command},
    {"run", "Run an ONNX file on an array", run_command},
    {"verify", "Compare an ONNX file's results here with LibTorch's and ONNX Runtime's", verify_command},
    {"data", "Check a folder of labelled pictures, or pack it as tar shards", data_command},
    {"bench", "Measure the speed of an ONNX file, or of training", bench_command},
};

const char* const kFooter =
    "Examples:\n"
#ifdef FEWSHIFT_TRAIN
    "  fewshift train --model fenet_cifar_0.5 --data my_pictures --size 64 --out runs/first\n"
    "  fewshift predict runs/first photo.jpg\n"
    "  fewshift inspect runs/first\n"
    "my_pictures holds train/CLASS/*.jpg and, if you have them, val/CLASS and test/CLASS.\n"
#else
    "  fewshift predict first.onnx photo.jpg\n"
    "  fewshift bench first.onnx\n"
#endif
    "`fewshift COMMAND --help` explains each. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a check found "
    "a difference, 130 interrupted and saved.";

std::string g_name = "fewshift";

// Whether no other process of a launch says what is wrong with the command line.
bool speaks() {
#ifdef FEWSHIFT_TRAIN
  try {
    const auto launch = launch_from([](const char* name) { return std::getenv(name); });
    return !launch || launch->rank == 0;
  } catch (const Error&) {
  }
#endif
  return true;
}

int fail(const std::string& message, int code = kFailed) {
  std::cerr << "fewshift: " << message.substr(0, message.find('\n')) << '\n';
  return code;
}

std::vector<std::string> option_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

// What is wrong with a command line, where we know it better than the parser does; else nothing.
std::string misspelt(const CLI::App& app, int argc, char** argv) {
  std::vector<std::string> commands;
  for (const Row& row : kCommands) commands.push_back(row.name);
  const std::string word = argc > 1 ? argv[1] : "";
  if (word.empty() || word[0] == '-') return "";
  const auto found = std::find(commands.begin(), commands.end(), word);
  if (found == commands.end())
    return "there is no command " + word + was_meant(word, commands) + " `fewshift --help` lists them";
  const CLI::App* command = app.get_subcommand(word);
  for (const CLI::App* deeper : command->get_subcommands()) command = deeper;  // those that were parsed
  const std::vector<std::string> options = option_names(*command);
  for (int k = 2; k < argc; ++k) {
    const std::string given = std::string(argv[k]).substr(0, std::string(argv[k]).find('='));
    if (given == "--") break;
    if (given.starts_with("--") && std::find(options.begin(), options.end(), given) == options.end())
      return word + " has no option " + given + was_meant(given, options) + " `fewshift " + word +
             " --help` lists them";
  }
  return "";
}

}  // namespace

int tell(const Action& action) {
  try {
    const int result = action();
    if (std::fflush(stdout) != 0 || std::ferror(stdout) || !std::cout.flush())
      throw Error(ErrorCode::kIo, "standard output", "cannot write");
    return result;
  } catch (const UsageError& error) {
    return fail(error.what(), kUsage);
  } catch (const Error& error) {
    return fail(error.what());
#ifdef FEWSHIFT_TRAIN
  } catch (const c10::Error& error) {
    return fail(error.what_without_backtrace());
#endif
  } catch (const std::filesystem::filesystem_error& error) {
    return fail(error.path1().string() + ": " + error.code().message());
  } catch (const std::bad_alloc&) {
    return fail("out of memory: try a smaller --batch or --size");
  } catch (const std::exception& error) {
    return fail(error.what());
  }
}

const std::string& program_name() {
  return g_name;
}

int program(int argc, char** argv) {
  if (argc > 0) g_name = std::filesystem::path(argv[0]).filename().string();
  remember_arguments(argv);
  keep_freed_memory();

  CLI::App app("fewshift: convolutional networks that see with a few learned shifts", "fewshift");
  app.footer(kFooter);
  app.set_version_flag("--version", "fewshift 0.1.0");
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  std::map<CLI::App*, Action> actions;
  for (const Row& row : kCommands) {
    CLI::App* command = app.add_subcommand(row.name, row.summary);
    command->get_formatter()->column_width(34);
    actions[command] = row.declare(*command);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (const std::string what = misspelt(app, argc, argv); !what.empty())
      return speaks() ? fail(what, kUsage) : kUsage;
    std::ostringstream unheard;  // several processes were all told the same
    if (speaks()) return app.exit(error) == 0 ? kDone : kUsage;
    return app.exit(error, unheard, unheard) == 0 ? kDone : kUsage;
  }
  return tell(actions.at(app.get_subcommands().front()));
}

}  // namespace fewshift::cli
