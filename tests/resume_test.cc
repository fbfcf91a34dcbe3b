// A run that was killed or interrupted, and resumed, ends with bit for bit the weights of one that was not.
// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <thread>

#include "core/file.h"
#include "core/safetensors.h"
#include "road.h"

namespace fewshift::road {
namespace {

namespace fs = std::filesystem;

class ResumeTest : public RoadTest {
 protected:
  void SetUp() override {
    RoadTest::SetUp();
    data = pictures("data", 3, 16, 0).string();
  }
  std::vector<std::string> train(const std::string& out) const {
    return {"train",   "--model", "fenet_0.5", "--data", data,        "--size", "32",    "--epochs", "4",
            "--batch", "8",       "--seed",    "7",      "--threads", "2",      "--out", path(out)};
  }
  std::vector<std::string> resume(const std::string& out) const {
    return {"train", "--resume", "--out", path(out)};
  }

  // Waits until the run has saved `lines` epochs and is some way into the next.
  void wait_into_epoch(const std::string& out, int lines) const {
    for (int tries = 0; tries < 6000; ++tries) {
      std::error_code error;
      if (fs::exists(path(out + "/metrics.jsonl"), error)) {
        const std::string metrics = read_file(path(out + "/metrics.jsonl"));
        if (std::count(metrics.begin(), metrics.end(), '\n') >= lines) break;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
  }

  void expect_same(const std::string& a, const std::string& b) const {
    for (const char* file : {"last.safetensors", "best.safetensors"}) {
      EXPECT_TRUE(read_file(path(a) + "/" + file) == read_file(path(b) + "/" + file)) << file;
    }
    const SafeTensors one = read_safetensors(path(a) + "/state.safetensors");
    const SafeTensors two = read_safetensors(path(b) + "/state.safetensors");
    ASSERT_EQ(one.tensors.size(), two.tensors.size());
    for (const auto& [name, tensor] : one.tensors)
      EXPECT_TRUE(tensor.bytes == two.tensors.at(name).bytes) << name;
  }

  std::string data;
};

TEST_F(ResumeTest, KilledAndInterruptedRunsEqualAnUninterruptedOne) {
  ASSERT_EQ(run(train("whole")).code, 0);

  for (int epochs : {1, 2}) {  // kill -9, at two places
    const std::string out = "killed" + std::to_string(epochs);
    const pid_t process = start(train(out), folder / "log");
    wait_into_epoch(out, epochs);
    kill(process, SIGKILL);
    EXPECT_EQ(wait_for(process), 128 + SIGKILL);
    const Outcome resumed = run(resume(out));
    EXPECT_EQ(resumed.code, 0) << resumed.err;
    expect_same("whole", out);
  }

  const pid_t process = start(train("interrupted"), folder / "log");
  wait_into_epoch("interrupted", 1);
  kill(process, SIGINT);
  const int code = wait_for(process);
  EXPECT_EQ(code, 130) << read_file(folder / "log");
  const Outcome resumed = run(resume("interrupted"));
  EXPECT_EQ(resumed.code, 0) << resumed.err;
  expect_same("whole", "interrupted");
}

// With all that training may add, and so all its random draws and moments.
TEST_F(ResumeTest, SoDoRunsWithEveryTrainingMeans) {
  auto with_all = [&](const std::string& out) {
    auto args = train(out);
    const std::vector<std::string> more = {
        "--optimiser",    "adamw", "--mixup",    "0.2", "--cutmix",        "1",
        "--ema",          "0.99",  "--clip",     "1",   "--set",           "data.colour_jitter=0.2",
        "--rand-augment", "2",     "--erasing",  "0.3", "--class-weights", "balanced",
        "--shift",        "asl",   "--patience", "5"};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  };
  ASSERT_EQ(run(with_all("whole")).code, 0);
  const pid_t process = start(with_all("killed"), folder / "log");
  wait_into_epoch("killed", 2);
  kill(process, SIGKILL);
  wait_for(process);
  const Outcome resumed = run(resume("killed"));
  EXPECT_EQ(resumed.code, 0) << resumed.err;
  expect_same("whole", "killed");
}

TEST_F(ResumeTest, ARunKilledBeforeItsFirstEpochStartsAnew) {
  const pid_t process = start(train("run"), folder / "log");
  for (int tries = 0; tries < 2000 && !fs::exists(path("run/config.toml")); ++tries) usleep(5000);
  kill(process, SIGKILL);
  wait_for(process);
  EXPECT_EQ(run(resume("run")).code, 0);
}

TEST_F(ResumeTest, OtherSettingsBesideResumeAreRefused) {
  auto args = train("run");
  args[8] = "1";  // epochs
  ASSERT_EQ(run(args).code, 0);
  const Outcome again = run(args);
  EXPECT_EQ(again.code, 1);
  EXPECT_NE(again.err.find("--resume"), std::string::npos) << again.err;
  auto other = resume("run");
  other.insert(other.end(), {"--model", "shiftresnet20_e1"});
  const Outcome differs = run(other);
  EXPECT_EQ(differs.code, 1);
  EXPECT_NE(differs.err.find("--model"), std::string::npos) << differs.err;
  const Outcome nothing = run(resume("nowhere"));
  EXPECT_EQ(nothing.code, 1);
  EXPECT_NE(nothing.err.find("nowhere"), std::string::npos) << nothing.err;
  EXPECT_NE(nothing.err.find("leave --resume out"), std::string::npos) << nothing.err;
}

// Weights that have gone wrong: the training stops, says what to lower, and the last good checkpoint stays.
TEST_F(ResumeTest, ANaNLossStopsAndKeepsTheLastGoodCheckpoint) {
  const pid_t process = start(train("run"), folder / "log");
  wait_into_epoch("run", 1);
  kill(process, SIGKILL);
  wait_for(process);
  SafeTensors state = read_safetensors(path("run/state.safetensors"));
  const float nan = std::nanf("");
  std::memcpy(state.tensors.at("network.stem.conv.weight").bytes.data(), &nan, sizeof nan);
  write_safetensors(path("run/state.safetensors"), state);
  const std::string good = read_file(path("run/last.safetensors"));
  const Outcome outcome = run(resume("run"));
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("the loss is NaN"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("--lr"), std::string::npos) << outcome.err;
  EXPECT_TRUE(read_file(path("run/last.safetensors")) == good);
}

TEST_F(ResumeTest, OtherPicturesAreRefused) {
  auto args = train("run");
  args[8] = "1";  // epochs
  ASSERT_EQ(run(args).code, 0);
  auto moved = resume("run");
  moved.insert(moved.end(), {"--data", pictures("other", 3, 12, 0).string()});
  const Outcome other = run(moved);
  EXPECT_EQ(other.code, 1);
  EXPECT_NE(other.err.find(path("other")), std::string::npos) << other.err;
  fs::rename(data, data + "_moved");
  moved.back() = data + "_moved";
  EXPECT_EQ(run(moved).code, 0) << "the same pictures elsewhere are the same pictures";
}

// Weights are never trained over in silence: whatever has become of the state, it is named, and so is another
// way on.
TEST_F(ResumeTest, AMissingEmptyShortOrAlteredStateIsRefused) {
  auto args = train("run");
  args[8] = "1";  // epochs
  ASSERT_EQ(run(args).code, 0);
  const std::string state = read_file(path("run/state.safetensors")),
                    best = read_file(path("run/best.safetensors"));
  std::string altered = state;
  for (size_t k = 0; k < 4; ++k) altered[altered.size() - 1000 + k] ^= 1;
  const auto expect_refusal = [&] {
    const Outcome outcome = run(resume("run"));
    EXPECT_EQ(outcome.code, 1);
    EXPECT_NE(outcome.err.find("run/state.safetensors"), std::string::npos) << outcome.err;
    EXPECT_NE(outcome.err.find("--init " + path("run")), std::string::npos) << outcome.err;
    EXPECT_TRUE(read_file(path("run/best.safetensors")) == best);
  };
  for (const std::string& bytes :
       {std::string(), std::string("not a state"), state.substr(0, state.size() / 2), altered}) {
    write_file_atomic(path("run/state.safetensors"), bytes);
    expect_refusal();
  }
  fs::remove(path("run/state.safetensors"));
  expect_refusal();
  fs::remove(path("run/config.toml"));
  EXPECT_EQ(run(args).code, 1) << "weights alone are a run too";
  EXPECT_TRUE(read_file(path("run/best.safetensors")) == best);
}

TEST_F(ResumeTest, AlteredWeightsAreNamedWhereverTheyAreRead) {
  auto args = train("run");
  args[8] = "1";
  ASSERT_EQ(run(args).code, 0);
  std::string bytes = read_file(path("run/best.safetensors"));
  for (size_t k = 0; k < 4; ++k) bytes[bytes.size() - 1000 + k] ^= 1;
  write_file_atomic(path("run/best.safetensors"), bytes);
  auto again = train("again");
  again.insert(again.end(), {"--init", path("run")});
  const std::vector<std::vector<std::string>> commands = {{"eval", path("run"), "--data", data},
                                                          {"inspect", path("run")},
                                                          {"export", path("run"), "--out", path("x.onnx")},
                                                          again};
  for (const auto& command : commands) {
    const Outcome outcome = run(command);
    EXPECT_EQ(outcome.code, 1) << command[0];
    EXPECT_NE(outcome.err.find("best.safetensors"), std::string::npos) << outcome.err;
    EXPECT_NE(outcome.err.find("checksum"), std::string::npos) << outcome.err;
  }
}

TEST_F(ResumeTest, AReplacedPictureIsNoticed) {
  auto args = train("run");
  args[8] = "1";
  ASSERT_EQ(run(args).code, 0);
  fs::path picture;
  for (const auto& entry : fs::recursive_directory_iterator(data + "/train"))
    if (entry.is_regular_file()) picture = entry.path();
  const std::string before = read_file(picture);
  write_file_atomic(picture, before);  // the same bytes, at another time
  const Outcome touched = run(resume("run"));
  EXPECT_EQ(touched.code, 0) << touched.err;
  EXPECT_NE(touched.err.find("files were written since"), std::string::npos) << touched.err;
  write_file_atomic(picture, before + "more");
  const Outcome other = run(resume("run"));
  EXPECT_EQ(other.code, 1);
  EXPECT_NE(other.err.find("--data " + data), std::string::npos) << other.err;
  EXPECT_NE(other.err.find("replaced"), std::string::npos) << other.err;
}

}  // namespace
}  // namespace fewshift::road
