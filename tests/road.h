// Runs the program as a user would, and makes small folders of real pictures.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <gtest/gtest.h>
#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace fewshift::road {

struct Outcome {
  int code = -1;  // exit code, or 128 + signal
  std::string out, err;
};

// `fewshift ARGS`, or another program. `in_child` runs in the child before the program starts.
Outcome run(const std::vector<std::string>& args, const std::function<void()>& in_child = {},
            const std::string& program = FEWSHIFT_PROGRAM);

// Starts it with its output in `log`, and returns the process.
pid_t start(const std::vector<std::string>& args, const std::filesystem::path& log);
int wait_for(pid_t process);  // exit code, or 128 + signal

class RoadTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;
  // train/ (and test/) of the first classes of the bundled sample, so many pictures each.
  std::filesystem::path pictures(const std::string& name, int classes, int train, int test);
  std::string path(const std::string& name) const { return (folder / name).string(); }
  std::filesystem::path folder;
};

}  // namespace fewshift::road
