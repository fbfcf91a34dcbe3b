// SPDX-License-Identifier: Apache-2.0
#include "road.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "core/file.h"

namespace fewshift::road {
namespace {

namespace fs = std::filesystem;

pid_t spawn(const std::vector<std::string>& args, const std::string& out, const std::string& err,
            const std::function<void()>& in_child, const std::string& program) {
  const pid_t child = fork();
  if (child != 0) return child;
  const int out_fd = open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  const int err_fd = out == err ? out_fd : open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  dup2(out_fd, STDOUT_FILENO);
  dup2(err_fd, STDERR_FILENO);
  if (in_child) in_child();
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  execv(program.c_str(), argv.data());
  _exit(127);
}

}  // namespace

int wait_for(pid_t process) {
  int status = 0;
  waitpid(process, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Outcome run(const std::vector<std::string>& args, const std::function<void()>& in_child,
            const std::string& program) {
  const std::string base =
      (fs::temp_directory_path() / ("fewshift_road_out_" + std::to_string(getpid()))).string();
  Outcome outcome;
  outcome.code = wait_for(spawn(args, base + ".out", base + ".err", in_child, program));
  outcome.out = read_file(base + ".out");
  outcome.err = read_file(base + ".err");
  fs::remove(base + ".out");
  fs::remove(base + ".err");
  return outcome;
}

pid_t start(const std::vector<std::string>& args, const fs::path& log) {
  return spawn(args, log, log, {}, FEWSHIFT_PROGRAM);
}

void RoadTest::SetUp() {
  folder = fs::temp_directory_path() / ("fewshift_road_" + std::to_string(getpid()));
  fs::remove_all(folder);
  fs::create_directories(folder);
}

void RoadTest::TearDown() {
  fs::remove_all(folder);
}

fs::path RoadTest::pictures(const std::string& name, int classes, int train, int test) {
  for (const auto& [split, number] : {std::pair{"train", train}, std::pair{"test", test}}) {
    if (number == 0) continue;
    std::vector<fs::path> all;
    for (const auto& entry : fs::directory_iterator(fs::path(FEWSHIFT_SAMPLE) / split))
      all.push_back(entry.path());
    std::sort(all.begin(), all.end());
    for (int c = 0; c < classes; ++c) {
      const fs::path target = folder / name / split / all[c].filename();
      fs::create_directories(target);
      std::vector<fs::path> files;
      for (const auto& entry : fs::directory_iterator(all[c])) files.push_back(entry.path());
      std::sort(files.begin(), files.end());
      for (int k = 0; k < number; ++k) fs::copy_file(files[k], target / files[k].filename());
    }
  }
  return folder / name;
}

}  // namespace fewshift::road
