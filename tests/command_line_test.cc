// The commands, from pictures to names, and what they say of bad input.
// SPDX-License-Identifier: Apache-2.0
#include <pty.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/file.h"
#include "core/npy.h"
#include "core/safetensors.h"
#include "graph/interpreter.h"
#include "graph/onnx/onnx.h"
#include "image/decode.h"
#include "image/preprocess.h"
#include "road.h"

namespace fewshift::road {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class CommandLineTest : public RoadTest {
 protected:
  std::vector<std::string> train(const std::string& data, const std::string& out,
                                 const std::vector<std::string>& more = {}) const {
    std::vector<std::string> args = {"train",    "--model", "fenet_0.5", "--data", data,    "--size", "32",
                                     "--epochs", "1",       "--batch",   "8",      "--out", out};
    for (size_t k = 0; k + 1 < more.size(); k += 2) {  // an option of `more` takes the place of its like
      const auto same = std::find(args.begin(), args.end(), more[k]);
      if (same != args.end()) args.erase(same, same + 2);
      args.insert(args.end(), {more[k], more[k + 1]});
    }
    return args;
  }
  // One line on standard error that names `what`, and the exit code.
  static void expect_failure(const Outcome& outcome, const std::string& what, int code = 1) {
    EXPECT_EQ(outcome.code, code) << outcome.err;
    EXPECT_NE(outcome.err.find(what), std::string::npos) << what << " is not in: " << outcome.err;
    const size_t line = outcome.err.find("fewshift: ");
    ASSERT_NE(line, std::string::npos) << outcome.err;
    EXPECT_EQ(outcome.err.find('\n', line), outcome.err.size() - 1) << outcome.err;
    EXPECT_EQ(outcome.out, "");
  }
  static void expect_usage(const Outcome& outcome, const std::string& what) {
    expect_failure(outcome, what, 2);
  }
};

TEST_F(CommandLineTest, FromPicturesToNames) {
  const std::string data = pictures("data", 3, 20, 5).string(), run_folder = path("run");
  const Outcome trained = run(train(data, run_folder, {"--shift-sparsity", "0.5"}));
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_EQ(trained.out, "");
  for (const char* file : {"config.toml", "metrics.jsonl", "log.txt", "best.safetensors", "last.safetensors",
                           "state.safetensors"}) {
    EXPECT_TRUE(fs::exists(run_folder + "/" + file)) << file;
  }
  const json metrics = json::parse(read_file(run_folder + "/metrics.jsonl"));
  EXPECT_EQ(metrics["epoch"], 1);
  EXPECT_NEAR(metrics["shift_sparsity"].get<double>(), 0.5, 0.03);

  const Outcome evaluated = run({"eval", run_folder, "--data", data, "--json"});
  ASSERT_EQ(evaluated.code, 0) << evaluated.err;
  const json evaluation = json::parse(evaluated.out);
  EXPECT_EQ(evaluation["images"], 15);
  EXPECT_EQ(evaluation["split"], "test");
  EXPECT_GE(evaluation["top1"].get<double>(), 0.0);
  EXPECT_TRUE(evaluation["top5"].is_null());  // of three classes it is no figure
  EXPECT_TRUE(evaluation.contains("loss"));

  const Outcome predicted = run({"predict", run_folder, data + "/test", "--top", "2", "--json"});
  ASSERT_EQ(predicted.code, 0) << predicted.err;
  const json predictions = json::parse(predicted.out)["predictions"];
  ASSERT_EQ(predictions.size(), 15u);
  int right = 0;
  for (const json& prediction : predictions) {
    ASSERT_EQ(prediction["classes"].size(), 2u);
    EXPECT_GE(prediction["classes"][0]["score"].get<double>(),
              prediction["classes"][1]["score"].get<double>());
    const std::string image = prediction["image"], name = prediction["classes"][0]["name"];
    right += image.find("/" + name + "/") != std::string::npos;
  }
  // A run knows its data; other files have to be told.
  EXPECT_EQ(json::parse(run({"eval", run_folder, "--json"}).out), evaluation);
  const Outcome told = run({"eval", run_folder});
  EXPECT_NE(told.out.find("15 pictures of " + data + "/test: top-1 "), std::string::npos) << told.out;
  EXPECT_EQ(told.out.find("top-5"), std::string::npos);
  const Outcome untold = run({"eval", run_folder + "/best.safetensors"});
  EXPECT_EQ(untold.code, 2);
  EXPECT_NE(untold.err.find("--data"), std::string::npos) << untold.err;

  // eval and predict see the same pictures the same way.
  EXPECT_NEAR(right / 15.0, evaluation["top1"].get<double>(), 1e-9);

  const Outcome inspected = run({"inspect", run_folder, "--json"});
  ASSERT_EQ(inspected.code, 0) << inspected.err;
  const json description = json::parse(inspected.out);
  EXPECT_NEAR(description["shift_sparsity"].get<double>(), 0.5, 0.03);
  int64_t still = 0, channels = 0;
  for (const json& layer : description["layers"]) {
    if (layer["kind"] != "sparse shift") continue;
    ASSERT_EQ(layer["displacements"].size(), layer["out"].get<size_t>());
    for (const json& shift : layer["shifts"]) still += shift == json::array({0, 0});
    channels += layer["out"].get<int64_t>();
  }
  EXPECT_NEAR(static_cast<double>(still) / static_cast<double>(channels),
              description["shift_sparsity"].get<double>(), 1e-9);
  EXPECT_EQ(run({"inspect", run_folder}).code, 0);

  const Outcome control =
      run(train(data, path("control"), {"--shift", "random", "--shift-from", run_folder}));
  ASSERT_EQ(control.code, 0) << control.err;
  const json fixed = json::parse(run({"inspect", path("control"), "--json"}).out);
  for (size_t k = 0; k < fixed["layers"].size(); ++k) {
    if (!fixed["layers"][k].contains("shift_sparsity")) continue;
    EXPECT_NEAR(fixed["layers"][k]["shift_sparsity"].get<double>(),
                description["layers"][k]["shift_sparsity"].get<double>(), 1e-9);
  }
}

TEST_F(CommandLineTest, ChecksDataAndTrainsFromShards) {
  const std::string data = pictures("data", 3, 20, 5).string(), shards = path("shards");
  const Outcome sound = run({"data", "check", data, "--few", "10"});
  EXPECT_EQ(sound.code, 0) << sound.out << sound.err;
  EXPECT_NE(sound.out.find("nothing found"), std::string::npos);

  const fs::path train_folder = fs::path(data) / "train", first = *fs::directory_iterator(train_folder),
                 picture = *fs::directory_iterator(first);
  fs::copy_file(picture, fs::path(data) / "test" / first.filename() / "again.jpg");
  write_file_atomic(first / "text.jpg", "no picture");
  const std::string bytes = read_file(picture);
  write_file_atomic(first / "cut.jpg", bytes.substr(0, bytes.size() / 2));
  const Outcome found = run({"data", "check", data, "--few", "10", "--json", "--html", path("check.html")});
  EXPECT_EQ(found.code, 3) << found.err;
  const json result = json::parse(found.out);
  EXPECT_EQ(result["broken"].size(), 2u);
  ASSERT_EQ(result["duplicates"].size(), 1u);
  EXPECT_TRUE(result["duplicates"][0]["across_parts"]);
  EXPECT_EQ(result["found"], 3);
  const std::string page = read_file(path("check.html"));
  EXPECT_NE(page.find("text.jpg"), std::string::npos);
  EXPECT_NE(page.find("data:image/jpeg;base64,"), std::string::npos);
  EXPECT_EQ(page.find("http"), std::string::npos);
  expect_failure(run({"data", "check", path("nowhere")}), "nowhere");
  EXPECT_EQ(run({"data"}).code, 2);

  fs::remove(first / "text.jpg"), fs::remove(first / "cut.jpg");
  const Outcome packed = run({"data", "pack", data, "--out", shards, "--json"});
  ASSERT_EQ(packed.code, 0) << packed.err;
  EXPECT_EQ(json::parse(packed.out)["pictures"], 76);
  expect_failure(run({"data", "pack", data, "--out", shards}), "is there already");
  const Outcome trained = run(train(shards, path("run")));
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_NE(trained.err.find("tar shards, 3 classes, train 54"), std::string::npos) << trained.err;
  // The same pictures, the same figures.
  json from_folder = json::parse(run({"eval", path("run"), "--data", data, "--json"}).out),
       from_shards = json::parse(run({"eval", path("run"), "--data", shards, "--json"}).out);
  EXPECT_EQ(from_folder["top1"], from_shards["top1"]);
  EXPECT_NEAR(from_folder["loss"].get<double>(), from_shards["loss"].get<double>(), 1e-5);
}

// A model of other origin gets names and preprocessing, keeps the rest, and is measured on some of its
// classes.
TEST_F(CommandLineTest, AnOnnxFileIsAnnotated) {
  const std::string data = pictures("data", 3, 2, 4).string(), plain = path("plain.onnx"),
                    file = path("named.onnx");
  graph::Graph g = graph::read_onnx([&] {
    EXPECT_EQ(run({"export", "--model", "fenet_cifar_0.5", "--size", "16", "--out", plain}).code, 0);
    return plain;
  }());
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(data + "/test"))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  std::string text = "\xef\xbb\xbf";
  for (int k = 9; k >= 0; --k)  // as a data set's class_names.txt, in another order
    text += "n" + std::to_string(k) + "\t" + (k < 3 ? names[k] : "other " + std::to_string(k)) + "\r\n";
  write_file_atomic(path("names.txt"), text + "\n");
  const Outcome done = run({"annotate",
                            plain,
                            "--out",
                            file,
                            "--interpolation",
                            "bicubic",
                            "--decode",
                            "full",
                            "--class-names",
                            path("names.txt"),
                            "--resize",
                            "20",
                            "--mean",
                            "0.5",
                            "0.5",
                            "0.5",
                            "--std",
                            "0.25",
                            "0.25",
                            "0.25"});
  ASSERT_EQ(done.code, 0) << done.err;
  const graph::Graph named = graph::read_onnx(file);
  EXPECT_EQ(json::parse(named.metadata.at("class_names"))[9], names[0]);
  EXPECT_EQ(json::parse(named.metadata.at("preprocess"))["resize"], 20);
  EXPECT_EQ(json::parse(named.metadata.at("preprocess"))["interpolation"], "bicubic");
  EXPECT_EQ(json::parse(named.metadata.at("preprocess"))["decode"], "full");
  EXPECT_EQ(run({"annotate", plain, "--out", file, "--interpolation", "nearest"}).code, 2);
  EXPECT_EQ(named.nodes.size(), g.nodes.size());
  const json measured = json::parse(run({"eval", file, "--data", data, "--json"}).out);
  EXPECT_EQ(measured["images"], 12);
  EXPECT_GE(measured["top5"].get<double>(), measured["top1"].get<double>());
  EXPECT_EQ(run({"eval", file}).code, 2);
  EXPECT_EQ(run({"annotate", file, "--out", file, "--resize", "30"}).code, 0);
  EXPECT_EQ(json::parse(graph::read_onnx(file).metadata.at("class_names"))[9], names[0]);

  for (const auto& [option, what] : {std::pair{"--mean", "255"}, {"--class-names", plain.c_str()}}) {
    const Outcome refused = option == std::string("--mean")
                                ? run({"annotate", plain, "--out", file, "--mean", what, what, what})
                                : run({"annotate", plain, "--out", file, option, what});
    EXPECT_EQ(refused.code, 1);
    EXPECT_EQ(std::count(refused.err.begin(), refused.err.end(), '\n'), 1) << refused.err;
  }
  write_file_atomic(path("names.txt"), "one\ntwo\n");
  EXPECT_EQ(run({"annotate", plain, "--out", path("none.onnx"), "--class-names", path("names.txt")}).code, 1);
  EXPECT_FALSE(std::filesystem::exists(path("none.onnx")));
}

TEST_F(CommandLineTest, PredictionsAsCsvAndWhatIsPassedOver) {
  const std::string data = pictures("data", 2, 1, 2).string(), model = path("model.onnx"),
                    odd = path("a, \"b\"");
  ASSERT_EQ(run({"export", "--model", "fenet_cifar_0.5", "--out", model}).code, 0);
  std::filesystem::create_directories(odd);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(data + "/test")) {
    if (entry.is_regular_file()) std::filesystem::copy(entry, odd);
    if (std::filesystem::exists(odd + "/001.jpg")) break;
  }
  for (const char* name : {"/a.gif", "/b.gif", "/c.tiff", "/.hidden.gif"}) write_file_atomic(odd + name, "");
  const size_t pictures = std::distance(std::filesystem::directory_iterator(odd), {}) - 4;
  const Outcome csv = run({"predict", model, odd, "--top", "2", "--csv"});
  ASSERT_EQ(csv.code, 0) << csv.err;
  EXPECT_EQ(csv.err,
            "passed over in " + odd + ": 2 .gif, 1 .tiff (pictures end in .jpg, .jpeg, .png, .webp)\n");
  const std::string first = "image,rank,name,score\n\"" + path("a, \"\"b\"\"") + "/";
  EXPECT_EQ(csv.out.substr(0, first.size()), first);
  EXPECT_EQ(std::count(csv.out.begin(), csv.out.end(), '\n'), static_cast<int64_t>(1 + 2 * pictures));
  EXPECT_NE(csv.out.find(".jpg\",2,"), std::string::npos) << csv.out;
  EXPECT_EQ(run({"predict", model, odd, "--csv", "--json"}).code, 2);
}

// The ONNX file alone, run by the plain interpreter with the preprocessing that it carries, says what predict
// says.
TEST_F(CommandLineTest, AnExportedFileCarriesAllThatItTakes) {
  const std::string data = pictures("data", 3, 16, 1).string(), file = path("model.onnx");
  ASSERT_EQ(run(train(data, path("run"))).code, 0);
  const Outcome exported = run({"export", path("run"), "--out", file});
  ASSERT_EQ(exported.code, 0) << exported.err;
  const graph::Graph network = graph::read_onnx(file);
  const auto names = json::parse(network.metadata.at("class_names"));
  const Preprocess recipe = preprocess_from_json(network.metadata.at("preprocess"), file);
  EXPECT_FALSE(json::parse(network.metadata.at("displacements")).empty());
  const json predictions =
      json::parse(run({"predict", path("run"), data + "/test", "--json"}).out)["predictions"];
  for (const json& prediction : predictions) {
    const int64_t size = recipe.size, pixels = size * size;
    std::vector<float> picture(3 * pixels);
    graph::Tensor input{{1, 3, size, size}, std::vector<float>(3 * pixels)};
    preprocess(load_image(prediction["image"].get<std::string>(), decode_min_side(recipe)), recipe,
               picture.data());
    for (int64_t p = 0; p < pixels; ++p) {
      for (int64_t c = 0; c < 3; ++c) input.values[c * pixels + p] = picture[3 * p + c];
    }
    const Floats logits = graph::interpret(network, input).values;
    const double largest = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (float logit : logits) sum += std::exp(logit - largest);
    for (const json& named : prediction["classes"]) {
      const auto k = std::find(names.begin(), names.end(), named["name"]) - names.begin();
      EXPECT_NEAR(std::exp(logits[k] - largest) / sum, named["score"].get<double>(), 1e-4);
    }
  }
  EXPECT_EQ(run({"export", "--model", "fenet_0.5", "--size", "32", "--out", path("untrained.onnx")}).code, 0);
  expect_failure(run({"export", "--out", file}), "--model");
  expect_failure(run({"export", path("nowhere"), "--out", file}), path("nowhere"));
  expect_failure(run({"export", path("run"), "--out", path("nowhere/model.onnx")}),
                 path("nowhere/model.onnx"));
  expect_failure(run({"export", "--model", "fasternet_t0", "--size", "8", "--out", file}), "--size");
}

// The engine says what the run says, through each command that takes the file.
TEST_F(CommandLineTest, AnExportedFileRunsWithoutTheRun) {
  const std::string data = pictures("data", 4, 16, 1).string(), file = path("model.onnx");
  ASSERT_EQ(run(train(data, path("run"))).code, 0);
  ASSERT_EQ(run({"export", path("run"), "--out", file}).code, 0);
  const json theirs = json::parse(run({"eval", path("run"), "--data", data, "--json"}).out),
             ours = json::parse(run({"eval", file, "--data", data, "--json"}).out);
  EXPECT_EQ(ours["top1"], theirs["top1"]);
  const double loss = theirs["loss"];
  EXPECT_NEAR(ours["loss"].get<double>(), loss, 1e-4 * std::max(1.0, loss));
  const json named = json::parse(run({"predict", file, data + "/test", "--json"}).out)["predictions"],
             before = json::parse(run({"predict", path("run"), data + "/test", "--json"}).out)["predictions"];
  ASSERT_EQ(named.size(), before.size());
  for (size_t k = 0; k < named.size(); ++k) {
    EXPECT_EQ(named[k]["classes"][0]["name"], before[k]["classes"][0]["name"]);
    EXPECT_NEAR(named[k]["classes"][0]["score"].get<double>(), before[k]["classes"][0]["score"].get<double>(),
                1e-4);
  }
  const json layers = json::parse(run({"inspect", file, "--json"}).out),
             of_run = json::parse(run({"inspect", path("run"), "--json"}).out);
  EXPECT_EQ(layers["madds"], of_run["madds"]);
  EXPECT_NEAR(layers["shift_sparsity"].get<double>(), of_run["shift_sparsity"].get<double>(), 0.02);
  const Outcome measured = run({"bench", file, "--threads", "1", "--steps", "3", "--layers", "--json"});
  ASSERT_EQ(measured.code, 0) << measured.err;
  const json bench = json::parse(measured.out);
  for (const char* field : {"median_ms", "min_ms", "gflops", "peak_fraction", "shift_fraction", "layers"})
    EXPECT_TRUE(bench.contains(field)) << field;

  const Outcome verified = run({"verify", file, "--data", data, "--run", path("run"), "--json"});
  ASSERT_EQ(verified.code, 0) << verified.err;
  const json compared = json::parse(verified.out)["compared"];
  EXPECT_EQ(compared[0]["with"], "LibTorch");
  EXPECT_EQ(compared[1]["with"], "the run");
  ASSERT_EQ(run(train(data, path("other"), {"--seed", "9"})).code, 0);
  EXPECT_EQ(run({"verify", file, "--data", data, "--run", path("other")}).code, 3);
}

TEST_F(CommandLineTest, ArraysGoThroughAFile) {
  const std::string file = path("model.onnx");
  ASSERT_EQ(run({"export", "--model", "fenet_cifar_0.5", "--out", file}).code, 0);
  Npy x{{3, 3, 32, 32}, std::vector<float>(3 * 3 * 32 * 32)};
  for (size_t k = 0; k < x.values.size(); ++k) x.values[k] = static_cast<float>(std::sin(0.1 * double(k)));
  write_npy(path("x.npy"), x);
  for (const char* threads : {"1", "2"}) {
    ASSERT_EQ(
        run({"run", file, "--input", path("x.npy"), "--output", path("y.npy"), "--threads", threads}).code,
        0);
    const Npy y = read_npy(path("y.npy"));
    const graph::Tensor expected = graph::interpret(graph::read_onnx(file), {x.shape, x.values});
    ASSERT_EQ(y.shape, expected.dims);
    for (size_t k = 0; k < y.values.size(); ++k) ASSERT_NEAR(y.values[k], expected.values[k], 1e-3);
  }
  expect_failure(run({"run", path("x.npy"), "--input", path("x.npy"), "--output", path("y.npy")}),
                 path("x.npy"));
  expect_failure(run({"run", file, "--input", file, "--output", path("y.npy")}), file);
  expect_failure(run({"run", file, "--input", path("y.npy"), "--output", path("y.npy")}), path("y.npy"));
  expect_failure(run({"predict", path("no.onnx"), "a.jpg"}), path("no.onnx"));
  expect_failure(run({"bench"}), "MODEL.onnx");
}

TEST_F(CommandLineTest, EverySpatialOperatorTrainsAndIsDescribed) {
  const std::string data = pictures("data", 3, 12, 4).string();
  for (const std::string shift : {"asl", "gsl", "random", "depthwise"}) {
    const Outcome trained = run(train(data, path(shift), {"--shift", shift}));
    ASSERT_EQ(trained.code, 0) << trained.err;
    const json description = json::parse(run({"inspect", path(shift), "--json"}).out);
    EXPECT_EQ(description["shift"], shift);
    EXPECT_EQ(description.contains("shift_sparsity"), shift != "depthwise");
    EXPECT_EQ(run({"inspect", path(shift)}).code, 0);
    EXPECT_EQ(run({"eval", path(shift), "--data", data}).code, 0);
  }
  expect_usage(run(train(data, path("a"), {"--shift", "sideways"})), "--shift");
  expect_usage(run(train(data, path("a"), {"--shift", "gsl", "--shift-penalty", "1"})), "--shift-penalty");
  expect_usage(run(train(data, path("a"), {"--shift", "asl", "--shift-sparsity", "0.9"})),
               "--shift-sparsity");
  expect_failure(run(train(data, path("a"), {"--model", "resnet20", "--shift-sparsity", "0.9"})),
                 "--shift-sparsity");
  expect_failure(run({"bench", "--train", "resnet20", "--shift", "asl"}), "--shift");
  expect_failure(run(train(data, path("a"), {"--model", "resnet20", "--shift", "gsl"})), "--shift gsl");
}

TEST_F(CommandLineTest, BeginsFromAnotherRun) {
  const std::string data = pictures("data", 3, 16, 4).string(), two = pictures("two", 2, 16, 4).string();
  ASSERT_EQ(run(train(data, path("first"))).code, 0);
  const Outcome tuned =
      run(train(two, path("second"), {"--init", path("first"), "--freeze-body", "1", "--epochs", "1"}));
  ASSERT_EQ(tuned.code, 0) << tuned.err;
  EXPECT_NE(tuned.err.find("made anew: classifier.linear.weight, classifier.linear.bias"), std::string::npos)
      << tuned.err;
  // One epoch with the body frozen: all but the last layer is the first run's, batch norm's statistics too.
  const SafeTensors before = read_safetensors(path("first/best.safetensors")),
                    after = read_safetensors(path("second/best.safetensors"));
  for (const auto& [name, tensor] : after.tensors) {
    if (name.starts_with("classifier.linear.") || name.ends_with(".start")) continue;
    EXPECT_TRUE(tensor.bytes == before.tensors.at(name).bytes) << name;
  }
  expect_usage(run(train(two, path("a"), {"--freeze-body", "1"})), "--freeze-body");
  expect_usage(run(train(two, path("a"), {"--init", path("first"), "--shift-sparsity", "0.9"})),
               "--shift-sparsity");
  expect_usage(run(train(two, path("a"), {"--init", ""})), "--init");
  const Outcome anew = run(train(two, path("third"), {"--init", path("first"), "--set", "shift.init=new"}));
  EXPECT_EQ(anew.code, 0) << anew.err;
  expect_failure(run(train(two, path("a"), {"--init", path("nowhere")})), path("nowhere"));
  expect_failure(run(train(two, path("a"), {"--init", path("first"), "--model", "fasternet_t0"})), "--init");
  EXPECT_FALSE(fs::exists(path("a")));
}

TEST_F(CommandLineTest, RunsAreCompared) {
  const std::string data = pictures("data", 3, 12, 4).string();
  const std::string a = path("a"), b = path("b"), c = path("c"), d = path("d");
  ASSERT_EQ(run(train(data, a, {"--seed", "1"})).code, 0);
  ASSERT_EQ(run(train(data, b, {"--seed", "2", "--threads", "1"})).code, 0);
  ASSERT_EQ(run(train(data, c, {"--shift", "depthwise"})).code, 0);
  ASSERT_EQ(run(train(data, d, {"--optimiser", "adamw"})).code, 0);
  const Outcome compared = run({"compare", a, b, c, d, "--data", data, "--json"});
  ASSERT_EQ(compared.code, 0) << compared.err;
  const json rows = json::parse(compared.out)["rows"];
  ASSERT_EQ(rows.size(), 3u);
  int pairs = 0;
  for (const json& row : rows) {
    EXPECT_LE(row["low"], row["top1"]);
    EXPECT_GE(row["high"], row["top1"]);
    EXPECT_EQ(row.contains("shift_sparsity"), row["shift"] == "ssl");
    if (row["runs"].size() == 2) ++pairs;
    for (const json& one : row["runs"]) {
      EXPECT_EQ(one["split"], "test");
      EXPECT_EQ(one["images"], 12);
      const json alone = json::parse(run({"eval", one["run"], "--data", data, "--json"}).out);
      EXPECT_EQ(one["top1"], alone["top1"]);
    }
  }
  EXPECT_EQ(pairs, 1);
  const Outcome text = run({"compare", a, b, d});
  EXPECT_NE(text.out.find("train.optimiser=adamw"), std::string::npos) << text.out;
  EXPECT_EQ(text.out.find("run.seed"), std::string::npos) << text.out;
  expect_failure(run({"compare", a, path("nowhere")}), path("nowhere"));
  expect_failure(run({"compare", a, a + "/"}), a);
}

TEST_F(CommandLineTest, FlippedPicturesAreSeenToo) {
  const std::string data = pictures("data", 3, 12, 6).string();
  ASSERT_EQ(run(train(data, path("run"))).code, 0);
  const json plain = json::parse(run({"eval", path("run"), "--data", data, "--json"}).out);
  const json flipped = json::parse(run({"eval", path("run"), "--data", data, "--flip", "--json"}).out);
  EXPECT_NE(plain["loss"], flipped["loss"]);
  EXPECT_EQ(flipped["images"], plain["images"]);
}

TEST_F(CommandLineTest, TrainingStopsEarlyWhereNothingGetsBetter) {
  const std::string data = pictures("data", 3, 16, 0).string();
  // With next to no learning rate no epoch is better than the first.
  const Outcome outcome =
      run(train(data, path("run"), {"--epochs", "9", "--patience", "2", "--shift", "gsl", "--lr", "1e-12"}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const std::string metrics = read_file(path("run/metrics.jsonl"));
  EXPECT_LT(std::count(metrics.begin(), metrics.end(), '\n'), 9);
  EXPECT_NE(outcome.err.find("stopped early"), std::string::npos) << outcome.err;
  const Outcome again = run({"train", "--resume", "--out", path("run")});
  EXPECT_EQ(again.code, 0);
  EXPECT_NE(again.err.find("finished already"), std::string::npos) << again.err;
}

TEST_F(CommandLineTest, UnevenClassesCanCountAlike) {
  const std::string data = pictures("data", 2, 16, 0).string();
  int kept = 0;
  const fs::path rare = *fs::directory_iterator(data + "/train");
  for (const auto& entry : fs::directory_iterator(rare))
    if (++kept > 4) fs::remove(entry.path());
  ASSERT_EQ(run(train(data, path("plain"))).code, 0);
  ASSERT_EQ(run(train(data, path("even"), {"--class-weights", "balanced"})).code, 0);
  EXPECT_FALSE(read_file(path("plain/last.safetensors")) == read_file(path("even/last.safetensors")));
}

TEST_F(CommandLineTest, TheBestEpochHasTheSparsityThatWasAskedFor) {
  const std::string data = pictures("data", 3, 16, 0).string();
  ASSERT_EQ(run(train(data, path("run"), {"--epochs", "5", "--shift-sparsity", "0.8"})).code, 0);
  for (const char* file : {"run/best.safetensors", "run/last.safetensors"}) {
    const json description = json::parse(run({"inspect", path(file), "--json"}).out);
    EXPECT_NEAR(description["shift_sparsity"].get<double>(), 0.8, 0.03) << file;
  }
}

// A learning rate beyond all measure: whatever is saved is made of numbers.
TEST_F(CommandLineTest, WhatIsNoNumberIsNeverSaved) {
  const std::string data = pictures("data", 3, 16, 0).string();
  const Outcome outcome =
      run(train(data, path("run"), {"--epochs", "3", "--lr", "1e30", "--set", "train.warmup_epochs=0"}));
  EXPECT_EQ(outcome.code, 1) << outcome.err;
  EXPECT_NE(outcome.err.find("--lr"), std::string::npos) << outcome.err;
  EXPECT_FALSE(fs::exists(path("run/last.safetensors")));
}

TEST_F(CommandLineTest, BatchesLeftWithOnePictureOrNoneAreNoEnd) {
  const std::string data = pictures("data", 2, 12, 0).string();
  int k = 0;
  for (const auto& entry : fs::recursive_directory_iterator(data)) {
    if (entry.is_regular_file() && k++ % 3 != 0) write_file_atomic(entry.path(), "no picture");
  }
  const Outcome outcome =
      run(train(data, path("run"),
                {"--epochs", "2", "--batch", "2", "--shift-sparsity", "0.5", "--set", "data.val_share=0"}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const json description = json::parse(run({"inspect", path("run"), "--json"}).out);
  EXPECT_NEAR(description["shift_sparsity"].get<double>(), 0.5, 0.03);
}

TEST_F(CommandLineTest, HelpAndUsage) {
  const Outcome help = run({"--help"});
  EXPECT_EQ(help.code, 0);
  for (const char* command :
       {"models", "train", "eval", "compare", "predict", "inspect", "export", "run", "verify", "bench"}) {
    EXPECT_NE(help.out.find(command), std::string::npos);
    EXPECT_EQ(run({command, "--help"}).code, 0) << command;
  }
  EXPECT_EQ(run({}).code, 2);
  const std::vector<std::pair<std::vector<std::string>, std::string>> wrong = {
      {{"inspct", "x"}, "no command inspct: was inspect meant?"},
      {{"train", "--out", "x", "--optimizer", "sgd"}, "no option --optimizer: was --optimiser meant?"},
      {{"train", "--out", "x", "--epoch=3"}, "no option --epoch: was --epochs meant?"},
      {{"data", "check", "x", "--jsn"}, "no option --jsn: was --json meant?"},
      {{"train", "--out", "x", "--data", "y"}, "--model"},
      {{"train", "--out", "x", "--model", "fenet_0.5"}, "--data"},
      {{"train", "--out", "x", "--data", "y", "--model", "fenet_0.5", "--optimiser", "adam"}, "--optimiser"},
      {{"train", "--out", "x", "--data", "y", "--model", "fenet_0.5", "--set", "train.optimiser=adam"},
       "train.optimiser"},
      {{"train", "--out", "x", "--set", "shift.rat=3"},
       "shift.rat: there is no such field in a recipe: was shift.rate meant?"},
      {{"train", "--out", "x", "--set", "shift.rate=fast"}, "shift.rate: must be a number"},
      {{"train", "--out", "x", "--set", "train.epochs=0", "--epochs", "1"},
       "--epochs: gives train.epochs a second value"},
      {{"train", "--out", "x", "--set", "shift.rate=1", "--set", "shift.rate=2"},
       "shift.rate a second value"}};
  for (const auto& [arguments, what] : wrong) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, 2) << what;
    EXPECT_NE(outcome.err.find(what), std::string::npos) << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }
  write_file_atomic(path("recipe.toml"), "[train]\noptimiser = \"adam\"\n");
  EXPECT_EQ(
      run({"train", "--out", "x", "--data", "y", "--model", "fenet_0.5", "--recipe", path("recipe.toml")})
          .code,
      1)
      << "a file is no usage";
  EXPECT_EQ(run({"train", "--out"}).code, 2);
  EXPECT_EQ(run({"eval", "x", "--data", "y", "--batch", "many"}).code, 2);
  EXPECT_EQ(run({"bench", "x.onnx", "--fused", "off"}).code, 2);
  for (const char* timeout : {"nan", "0", "86401", "soon"})
    EXPECT_EQ(run({"train", "--out", "x", "--timeout", timeout}).code, 2) << timeout;
}

// At 80 columns no line of a training is wrapped, and the bar is there.
TEST_F(CommandLineTest, LinesFitTheTerminal) {
  const std::string data = pictures("data", 2, 16, 0).string();
  winsize size{24, 80, 0, 0};
  int terminal = -1, end = -1;
  ASSERT_EQ(openpty(&terminal, &end, nullptr, nullptr, &size), 0);
  std::string shown;
  std::thread reader([&] {
    char bytes[4096];
    for (ssize_t n; (n = read(terminal, bytes, sizeof bytes)) > 0;)
      shown.append(bytes, static_cast<size_t>(n));
  });
  const Outcome outcome = run({"train", "--model", "fenet_0.5", "--size", "32", "--epochs", "2", "--batch",
                               "8", "--data", data, "--out", path("run")},
                              [&] { dup2(end, STDERR_FILENO); });
  close(end);
  reader.join();
  close(terminal);
  EXPECT_EQ(outcome.code, 0) << shown;
  EXPECT_NE(shown.find("─"), std::string::npos) << shown;
  EXPECT_NE(shown.find("epoch 2/2  loss"), std::string::npos) << shown;
  std::string line;  // without escapes; of characters but their first byte
  bool escaped = false;
  for (const char c : shown) {
    if (c == '\033') escaped = true;
    if (c == '\n' || c == '\r') {
      if (line.starts_with("epoch ")) EXPECT_LE(line.size(), 80u) << line;
      line.clear();
    } else if (!escaped && (c & 0xC0) != 0x80) {
      line += c;
    }
    if (escaped && std::isalpha(static_cast<unsigned char>(c))) escaped = false;
  }
}

// One folder of class folders, and no more.
TEST_F(CommandLineTest, ClassFoldersByThemselvesAreEnough) {
  fs::rename(pictures("data", 3, 20, 0) / "train", folder / "flowers");
  const std::string data = path("flowers"), run_folder = path("run");
  const Outcome checked = run({"data", "check", data, "--few", "10"});
  EXPECT_EQ(checked.code, 0) << checked.out << checked.err;
  EXPECT_NE(checked.out.find("train      60 pictures, 3 classes of 20 to 20"), std::string::npos)
      << checked.out;
  const Outcome trained = run(train(data, run_folder));
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_NE(
      trained.err.find("class folders, 3 classes, train 54, val 6 (a part of every class, by the seed)"),
      std::string::npos)
      << trained.err;
  const json metrics = json::parse(read_file(run_folder + "/metrics.jsonl")),
             evaluated = json::parse(run({"eval", run_folder, "--data", data, "--json"}).out);
  EXPECT_EQ(evaluated["split"], "val");
  EXPECT_EQ(evaluated["images"], 6);
  EXPECT_NEAR(evaluated["top1"].get<double>(), metrics["val_top1"].get<double>(), 1e-9);
  const Outcome compared = run({"compare", run_folder, "--data", data, "--json"});
  EXPECT_EQ(json::parse(compared.out)["rows"][0]["runs"][0]["images"], 6) << compared.err;
  const Outcome packed = run({"data", "pack", data, "--out", path("shards"), "--json"});
  ASSERT_EQ(packed.code, 0) << packed.err;
  EXPECT_EQ(json::parse(packed.out)["pictures"], 60);
  fs::remove_all(*fs::directory_iterator(data));
  expect_failure(run({"eval", run_folder, "--data", data}), data);
}

TEST_F(CommandLineTest, ModelsAreListed) {
  const Outcome listed = run({"models", "--json"});
  ASSERT_EQ(listed.code, 0);
  const json models = json::parse(listed.out);
  const auto found =
      std::find_if(models.begin(), models.end(), [](const json& m) { return m["name"] == "fenet_1.0"; });
  ASSERT_NE(found, models.end());
  EXPECT_EQ((*found)["input"], json::array({3, 224, 224}));
  EXPECT_NEAR((*found)["madds"].get<double>(), 301.8e6, 0.3e6);
}

TEST_F(CommandLineTest, TrainingSpeedIsMeasured) {
  const Outcome measured = run(
      {"bench", "--train", "shiftresnet20_e1", "--batch", "4", "--steps", "3", "--threads", "1", "--json"});
  ASSERT_EQ(measured.code, 0) << measured.err;
  const json bench = json::parse(measured.out);
  EXPECT_GT(bench["images_per_s"].get<double>(), 0);
  EXPECT_GT(bench["peak_memory_mb"].get<double>(), 0);
  EXPECT_GT(bench["peak_fraction"].get<double>(), 0);
}

TEST_F(CommandLineTest, PreparationOfPicturesIsMeasured) {
  const std::string data = pictures("data", 2, 8, 2).string();
  const Outcome measured = run({"bench", "--data", data, "--size", "24", "--threads", "1", "--json"});
  ASSERT_EQ(measured.code, 0) << measured.err;
  const json bench = json::parse(measured.out);
  for (const char* kind : {"decode", "augment", "copy", "loader"})
    EXPECT_GT(bench[std::string(kind) + "_images_per_s"].get<double>(), 0) << kind;
  expect_failure(run({"bench", "--data", path("nowhere")}), path("nowhere"));
  expect_failure(run({"bench", "--data", data, "--train", "resnet20"}), "--data");
}

TEST_F(CommandLineTest, BadFoldersAreNamed) {
  const std::string data = pictures("data", 2, 8, 2).string();
  expect_failure(run(train(path("nowhere"), path("a"))), path("nowhere"));
  fs::create_directories(folder / "empty" / "train");
  expect_failure(run(train(path("empty"), path("a"))), path("empty"));
  fs::create_directories(folder / "data" / "train" / "zz_nothing");
  expect_failure(run(train(data, path("a"))), "zz_nothing");
  fs::remove(folder / "data" / "train" / "zz_nothing");
  const std::string one = pictures("one", 1, 8, 0).string();
  expect_failure(run(train(one, path("a"))), path("one"));
  EXPECT_FALSE(fs::exists(path("a"))) << "a failure before training leaves no folder";
  write_file_atomic(path("file"), "in the way");
  expect_failure(run(train(data, path("file"))), path("file"));
  expect_failure(run(train(data, "/proc/fewshift")), "/proc/fewshift");
}

TEST_F(CommandLineTest, BadOptionsAreNamed) {
  const std::string data = pictures("data", 2, 8, 2).string();
  expect_failure(run(train(data, path("a"), {"--model", "fenet_9"})), "fenet_9");
  expect_usage(run(train(data, path("a"), {"--shift-sparsity", "2"})), "--shift-sparsity");
  expect_usage(run(train(data, path("a"), {"--set", "shift.speed=1"})), "shift.speed");
  expect_failure(run(train(data, path("a"), {"--recipe", path("none.toml")})), "none.toml");
  expect_usage(run({"train", "--data", data, "--out", path("a")}), "--model");
}

TEST_F(CommandLineTest, BrokenPicturesAmongGoodOnesAreSkippedCountedAndNamed) {
  const std::string data = pictures("data", 2, 12, 3).string();
  std::string first_class, picture;
  for (const auto& entry : fs::directory_iterator(data + "/train"))
    first_class = std::max(first_class, entry.path().string());
  const std::string good = read_file(fs::path(first_class) / "001.jpg");
  write_file_atomic(first_class + "/zero.jpg", "");
  write_file_atomic(first_class + "/cut.jpg", good.substr(0, good.size() / 2));
  std::string lying = good;  // the frame header claims 65500 x 65500 px
  for (size_t k = 2; k + 9 < lying.size(); ++k) {
    if (lying[k] == '\xff' && lying[k + 1] == '\xc0') {
      for (int byte : {5, 7}) lying[k + byte] = '\xff', lying[k + byte + 1] = '\xdc';
      break;
    }
  }
  write_file_atomic(first_class + "/lying.jpg", lying);
  const Outcome outcome = run(train(data, path("run"), {"--epochs", "3", "--set", "data.val_share=0"}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const char* name : {"zero.jpg", "cut.jpg", "lying.jpg"})
    EXPECT_NE(outcome.err.find(name), std::string::npos) << outcome.err;
  const std::string metrics = read_file(path("run/metrics.jsonl"));
  const size_t last = metrics.rfind('\n', metrics.size() - 2) + 1;
  EXPECT_EQ(json::parse(metrics.substr(last))["broken_images"], 3);

  // predict names the broken one and classifies the rest.
  const Outcome predicted =
      run({"predict", path("run"), first_class + "/zero.jpg", first_class + "/001.jpg", "--json"});
  EXPECT_EQ(predicted.code, 1);
  EXPECT_NE(predicted.err.find("zero.jpg"), std::string::npos);
  EXPECT_EQ(json::parse(predicted.out)["predictions"].size(), 1u);
}

TEST_F(CommandLineTest, OnlyBrokenPicturesFail) {
  for (const char* name : {"a", "b"}) {
    fs::create_directories(folder / "data" / "train" / name);
    for (int k = 0; k < 9; ++k)
      write_file_atomic(folder / "data" / "train" / name / (std::to_string(k) + ".jpg"), "no picture");
  }
  const Outcome outcome = run(train(path("data"), path("run")));
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find(".jpg"), std::string::npos) << outcome.err;
}

TEST_F(CommandLineTest, BadCheckpointsAreNamed) {
  const std::string data = pictures("data", 2, 8, 2).string(), picture = data + "/test";
  ASSERT_EQ(run(train(data, path("run"))).code, 0);
  expect_failure(run({"predict", path("nowhere"), picture}), path("nowhere"));
  expect_failure(run({"inspect", data}), data);
  std::string bytes = read_file(path("run/best.safetensors"));
  bytes[3] = '\x7f';
  write_file_atomic(path("header.safetensors"), bytes);
  expect_failure(run({"eval", path("header.safetensors"), "--data", data}), "header.safetensors");
  expect_failure(run({"eval", path("run"), "--data", pictures("other", 3, 4, 2).string()}), path("other"));
  expect_failure(run({"predict", path("run"), data + "/nothing.jpg"}).code == 1
                     ? run({"predict", path("run"), data + "/nothing.jpg"})
                     : Outcome{},
                 "nothing.jpg");
}

// A disk without room: the write fails, the line names the file, and what was there before is still there.
TEST_F(CommandLineTest, AFullDiskIsNamedAndLosesNothing) {
  const std::string data = pictures("data", 2, 16, 2).string();
  const auto no_room = [] {
    signal(SIGXFSZ, SIG_IGN);  // writes beyond the limit fail, as on a full disk
    const rlimit limit{20000, 20000};
    setrlimit(RLIMIT_FSIZE, &limit);
  };
  const Outcome outcome = run(train(data, path("run")), no_room);
  expect_failure(outcome, "safetensors: cannot write");
  for (const auto& entry : fs::directory_iterator(path("run"))) {
    EXPECT_EQ(entry.path().string().find(".tmp"), std::string::npos) << entry.path();
  }
  EXPECT_EQ(run({"train", "--resume", "--out", path("run")}).code, 0) << "with room again it goes on";
}

}  // namespace
}  // namespace fewshift::road
