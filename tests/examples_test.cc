// The programs of examples/: what they add trains, is counted, described and measured like what is built in.
// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include "road.h"

namespace fewshift::road {
namespace {

using nlohmann::json;

class ExamplesTest : public RoadTest {
 protected:
  // Trains with `choice`, and returns what inspect says.
  json train(const std::string& program, const std::vector<std::string>& choice) {
    const std::string data = pictures("data", 3, 16, 4).string(), run_folder = path("run");
    std::vector<std::string> args = {"train",    "--data",   data, "--size",  "32", "--out",
                                     run_folder, "--epochs", "1",  "--batch", "8"};
    args.insert(args.end(), choice.begin(), choice.end());
    const Outcome trained = run(args, {}, program);
    EXPECT_EQ(trained.code, 0) << trained.err;
    const Outcome evaluated = run({"eval", run_folder, "--data", data, "--json"}, {}, program);
    EXPECT_EQ(json::parse(evaluated.out)["images"], 12) << evaluated.err;
    return json::parse(run({"inspect", run_folder, "--json"}, {}, program).out);
  }
};

TEST_F(ExamplesTest, AddALayer) {
  const json described = train(FEWSHIFT_ADD_A_LAYER, {"--model", "shiftresnet20_e1", "--shift", "separable"});
  EXPECT_EQ(described["shift"], "separable");
  int found = 0;
  for (const json& layer : described["layers"]) {
    if (layer["kind"] != "separable 3x3") continue;
    ++found;
    const int64_t channels = layer["out"],
                  pixels = layer["height"].get<int64_t>() * layer["width"].get<int64_t>();
    EXPECT_EQ(layer["params"], 6 * channels);
    EXPECT_EQ(layer["madds"], 6 * channels * pixels);
  }
  EXPECT_EQ(found, 9);
  const Outcome without = run({"inspect", path("run")});  // plain fewshift does not know it, and says so
  EXPECT_EQ(without.code, 1);
  EXPECT_NE(without.err.find("separable"), std::string::npos) << without.err;
}

TEST_F(ExamplesTest, AddAModel) {
  const json described = train(FEWSHIFT_ADD_A_MODEL, {"--model", "pocket"});
  EXPECT_EQ(described["model"], "pocket");
  EXPECT_EQ(described["params"], 27699);
  std::filesystem::remove_all(folder);
  const json depthwise = train(FEWSHIFT_ADD_A_MODEL, {"--model", "pocket", "--shift", "depthwise"});
  EXPECT_GT(depthwise["params"], described["params"]);
  bool listed = false;
  const Outcome models = run({"models", "--json"}, {}, FEWSHIFT_ADD_A_MODEL);
  for (const json& model : json::parse(models.out)) listed |= model["name"] == "pocket";
  EXPECT_TRUE(listed);
}

}  // namespace
}  // namespace fewshift::road
