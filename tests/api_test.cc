// The C and C++ faces: what a program sees of the library. SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <fewshift/fewshift.hpp>
#include <filesystem>
#include <fstream>
#include <thread>

#include "arch/registry.h"
#include "export/lower.h"
#include "graph/interpreter.h"
#include "graph/onnx/onnx.h"
#include "image/decode.h"
#include "image/encode.h"
#include "image/preprocess.h"
#include "model/predictions.h"

namespace {

namespace fs = std::filesystem;
using fewshift::graph::Graph;

constexpr int kSize = 32, kClasses = 7;

Graph network() {
  return fewshift::lower(fewshift::make_arch("fenet_0.5", kClasses, "ssl"), fewshift::random_weights(3, 0.5),
                         kSize);
}

fewshift::Image picture(int width, int height) {
  fewshift::Image image{width, height, {}};
  for (int k = 0; k < width * height * 3; ++k) image.pixels.push_back(static_cast<uint8_t>(k * 37 % 251));
  return image;
}

// The probabilities of a picture, by the plain interpreter.
std::vector<double> expected(const fewshift::Image& image) {
  const fewshift::Preprocess recipe = fewshift::default_preprocess(kSize);
  std::vector<float> pixels(3 * kSize * kSize), planes(pixels.size());
  fewshift::preprocess(image, recipe, pixels.data());
  for (int c = 0; c < 3; ++c) {
    for (int p = 0; p < kSize * kSize; ++p) planes[c * kSize * kSize + p] = pixels[p * 3 + c];
  }
  const auto y = fewshift::graph::interpret(network(), {{1, 3, kSize, kSize}, planes});
  return fewshift::probabilities(y.values.data(), kClasses);
}

class Api : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("fewshift_api_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
    fewshift::graph::write_onnx(file(), network());
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path file() const { return folder_ / "model.onnx"; }
  std::string bytes() const { return fewshift::graph::format_onnx(network()); }
  fs::path folder_;
};

void expect_like(const std::vector<fewshift::Class>& found, const std::vector<double>& shares) {
  for (size_t k = 0; k < found.size(); ++k) {
    EXPECT_NEAR(found[k].score, shares[found[k].index], 1e-4);
    EXPECT_EQ(found[k].name, std::to_string(found[k].index));
    EXPECT_GE(found[k > 0 ? k - 1 : 0].score, found[k].score);
  }
}

TEST_F(Api, PicturesFromFilesBytesAndPixelsAreClassifiedAlike) {
  const std::string encoded = fewshift::encode_jpeg(picture(45, 40), 95);
  const fewshift::Image image = fewshift::decode_image(encoded, "it");
  std::ofstream(folder_ / "picture.jpg", std::ios::binary) << encoded;
  const std::vector<double> shares = expected(image);
  const fewshift::Model model(file());
  fewshift::Session session(model);
  const auto from_file = session.classify(folder_ / "picture.jpg", 3);
  ASSERT_EQ(from_file.size(), 3u);
  expect_like(from_file, shares);
  expect_like(session.classify(fewshift::Bytes{encoded.data(), encoded.size()}), shares);
  EXPECT_EQ(session.classify(fewshift::Bytes{encoded.data(), encoded.size()}, 100).size(), size_t{kClasses});
  expect_like(session.classify(fewshift::Pixels{image.pixels.data(), 45, 40}), shares);

  std::vector<uint8_t> wide(40 * 200, 9);  // four bytes a pixel, rows with a gap
  for (int i = 0; i < 40; ++i) {
    for (int j = 0; j < 45; ++j) std::memcpy(&wide[i * 200 + 4 * j], &image.pixels[(i * 45 + j) * 3], 3);
  }
  expect_like(session.classify(fewshift::Pixels{wide.data(), 45, 40, 200, 4}), shares);
  const std::vector<uint8_t> grey(45 * 40, 100), same(45 * 40 * 3, 100);
  EXPECT_EQ(session.classify(fewshift::Pixels{grey.data(), 45, 40, 0, 1})[0].score,
            session.classify(fewshift::Pixels{same.data(), 45, 40})[0].score);
}

// Of our own files a large JPEG may be decoded at a smaller scale; of a file of another's it is not, unless
// it says so.
TEST_F(Api, LargeJpegsAreDecodedAsTheFileSays) {
  fewshift::Image large{400, 300, {}};
  for (int k = 0; k < 400 * 300 * 3; ++k) large.pixels.push_back(static_cast<uint8_t>(k / 7 * 37 % 251));
  const std::string jpeg = fewshift::encode_jpeg(large, 95);
  const fewshift::Image full = fewshift::decode_image(jpeg, "it"),
                        small = fewshift::decode_image(jpeg, "it", 64);
  ASSERT_EQ(small.height, 75);
  const auto prepared = [](const fewshift::Model& model, const fewshift::Image& image) {
    return model.prepare(fewshift::Pixels{image.pixels.data(), image.width, image.height});
  };
  const std::string before = R"({"size":32,"resize":32,"mean":[0,0,0],"std":[1,1,1])";
  using Metadata = std::map<std::string, std::string>;
  for (const auto& [metadata, in_full] :
       {std::pair{Metadata{}, true},
        {Metadata{{"preprocess", before + "}"}}, true},
        {Metadata{{"preprocess", before + "}"}, {"displacements", "{}"}}, false},
        {Metadata{{"preprocess", before + R"(,"decode":"fast"})"}}, false},
        {Metadata{{"preprocess", before + R"(,"decode":"full"})"}, {"displacements", "{}"}}, true}}) {
    Graph graph = network();
    graph.metadata = metadata;
    const std::string onnx = fewshift::graph::format_onnx(graph);
    const fewshift::Model model(fewshift::Bytes{onnx.data(), onnx.size()});
    EXPECT_NE(model.preprocessing().find(in_full ? R"("decode":"full")" : R"("decode":"fast")"),
              std::string::npos);
    EXPECT_NE(prepared(model, full), prepared(model, small));
    EXPECT_EQ(model.prepare(fewshift::Bytes{jpeg.data(), jpeg.size()}),
              prepared(model, in_full ? full : small));
  }
}

TEST_F(Api, TensorsFeaturesAndScores) {
  const std::string onnx = bytes();
  const fewshift::Model model(fewshift::Bytes{onnx.data(), onnx.size()});
  EXPECT_EQ(model.input_dims(), (std::vector<int64_t>{1, 3, kSize, kSize}));
  EXPECT_EQ(model.output_dims(), (std::vector<int64_t>{1, kClasses}));
  EXPECT_EQ(model.class_names().size(), size_t{kClasses});
  EXPECT_NE(model.preprocessing().find("\"size\":32"), std::string::npos);
  ASSERT_EQ(model.features(), 1024);
  for (int threads : {1, 2}) {
    fewshift::Session session(model, 2, threads);
    std::vector<float> x = model.prepare(fewshift::Pixels{picture(50, 33).pixels.data(), 50, 33}), features;
    x.insert(x.end(), x.begin(), x.end());
    for (size_t k = 0; k < x.size() / 2; ++k) x[k] = -x[k];
    const std::vector<float> y = session.run(x, &features);
    ASSERT_EQ(y.size(), size_t{2 * kClasses});
    ASSERT_EQ(features.size(), 2048u);
    EXPECT_EQ(session.run(x), y);
    // The classifier on the features gives the output.
    const Graph g = network();
    const auto& last = g.nodes.back();
    ASSERT_TRUE(std::holds_alternative<fewshift::graph::Linear>(last.op));
    const auto &weight = *g.values[last.inputs[1]].constant, &bias = *g.values[last.inputs[2]].constant;
    for (int n = 0; n < 2; ++n) {
      for (int c = 0; c < kClasses; ++c) {
        double sum = bias.values[c];
        for (int k = 0; k < 1024; ++k) sum += double(weight.values[c * 1024 + k]) * features[n * 1024 + k];
        EXPECT_NEAR(sum, y[n * kClasses + c], 1e-3 * (1 + std::abs(sum)));
      }
    }
    const auto shares = fewshift::probabilities(y.data(), kClasses);
    const std::vector<float> scores = model.scores(y.data());
    for (int c = 0; c < kClasses; ++c) EXPECT_NEAR(scores[c], shares[c], 1e-6);
  }
}

TEST_F(Api, ManyThreadsShareAModel) {
  const fewshift::Model model(file());
  const fewshift::Image image = picture(40, 40);
  const std::vector<double> shares = expected(image);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      fewshift::Session session(model);
      for (int k = 0; k < 10; ++k)
        expect_like(session.classify(fewshift::Pixels{image.pixels.data(), 40, 40}), shares);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(Api, ErrorsAreStatusesAndTexts) {
  fewshift_model* model = nullptr;
  EXPECT_EQ(fewshift_model_open("nowhere.onnx", nullptr, &model), FEWSHIFT_NOT_FOUND);
  EXPECT_NE(std::string(fewshift_error()).find("nowhere.onnx"), std::string::npos);
  EXPECT_EQ(model, nullptr);
  EXPECT_EQ(fewshift_model_open(nullptr, nullptr, &model), FEWSHIFT_INVALID_ARGUMENT);
  EXPECT_EQ(fewshift_model_open_bytes("junk", 4, nullptr, &model), FEWSHIFT_CORRUPT);
  std::thread([] { EXPECT_STREQ(fewshift_error(), ""); }).join();  // each thread has its own

  ASSERT_EQ(fewshift_model_open(file().c_str(), nullptr, &model), FEWSHIFT_OK);
  fewshift_session* session = nullptr;
  EXPECT_EQ(fewshift_session_create(model, 0, 1, &session), FEWSHIFT_INVALID_ARGUMENT);
  EXPECT_EQ(fewshift_session_create(model, 1, 0, &session), FEWSHIFT_INVALID_ARGUMENT);
  ASSERT_EQ(fewshift_session_create(model, 2, 1, &session), FEWSHIFT_OK);
  fewshift_class one;
  int64_t count = 0;
  EXPECT_EQ(fewshift_classify_file(session, "nowhere.jpg", &one, 1, &count), FEWSHIFT_INVALID_ARGUMENT);
  fewshift_session_close(session);
  ASSERT_EQ(fewshift_session_create(model, 1, 1, &session), FEWSHIFT_OK);
  EXPECT_EQ(fewshift_model_class_name(model, kClasses), nullptr);
  EXPECT_EQ(fewshift_model_class_name(model, -1), nullptr);
  EXPECT_EQ(fewshift_model_metadata(model, "nothing"), nullptr);
  fewshift_model_close(model);  // the session keeps what it needs

  fewshift_class best[2];
  int64_t found = 77;
  EXPECT_EQ(fewshift_classify_file(session, "nowhere.jpg", best, 2, &found), FEWSHIFT_NOT_FOUND);
  EXPECT_EQ(fewshift_classify_bytes(session, "\xff\xd8\xff", 3, best, 2, &found), FEWSHIFT_CORRUPT);
  const std::vector<uint8_t> pixels(300, 1);
  EXPECT_EQ(fewshift_classify_pixels(session, pixels.data(), 10, 10, 30, 2, best, 2, &found),
            FEWSHIFT_INVALID_ARGUMENT);
  EXPECT_EQ(fewshift_classify_pixels(session, pixels.data(), 10, 10, 29, 3, best, 2, &found),
            FEWSHIFT_INVALID_ARGUMENT);
  EXPECT_EQ(fewshift_classify_pixels(session, pixels.data(), 10, 10, 30, 3, best, 0, &found),
            FEWSHIFT_INVALID_ARGUMENT);
  EXPECT_EQ(fewshift_classify_pixels(session, pixels.data(), 10, 10, SIZE_MAX, 3, best, 2, &found),
            FEWSHIFT_INVALID_ARGUMENT);
  EXPECT_EQ(fewshift_run(session, nullptr, nullptr, nullptr), FEWSHIFT_INVALID_ARGUMENT);
  EXPECT_EQ(found, 77);
  EXPECT_EQ(fewshift_classify_pixels(session, pixels.data(), 10, 10, 30, 3, best, 2, &found), FEWSHIFT_OK);
  EXPECT_EQ(found, 2);
  fewshift_session_close(session);
  fewshift_session_close(nullptr), fewshift_model_close(nullptr);
}

TEST_F(Api, NullIsAnErrorOfGettersToo) {
  fewshift_model* model = nullptr;
  int64_t dims[4];
  const auto expect_named = [&](bool none, const char* argument) {
    EXPECT_TRUE(none) << argument;
    EXPECT_EQ(std::string(fewshift_error()), std::string(argument) + ": is NULL");
    EXPECT_EQ(fewshift_model_open("nowhere.onnx", nullptr, &model), FEWSHIFT_NOT_FOUND);  // another error
  };
  expect_named(fewshift_model_input_dims(nullptr, dims, 4) == 0, "model");
  expect_named(fewshift_model_output_dims(nullptr, dims, 4) == 0, "model");
  expect_named(fewshift_model_features(nullptr) == 0, "model");
  expect_named(fewshift_model_classes(nullptr) == 0, "model");
  expect_named(fewshift_model_class_name(nullptr, 0) == nullptr, "model");
  expect_named(fewshift_model_preprocessing(nullptr) == nullptr, "model");
  expect_named(fewshift_model_metadata(nullptr, "x") == nullptr, "model");
  ASSERT_EQ(fewshift_model_open(file().c_str(), nullptr, &model), FEWSHIFT_OK);
  expect_named(fewshift_model_metadata(model, nullptr) == nullptr, "key");
  expect_named(fewshift_model_input_dims(model, nullptr, 4) == 0, "dims");
  EXPECT_EQ(fewshift_model_input_dims(model, nullptr, 0), 4);
  fewshift_model_close(model);
}

TEST_F(Api, CallersMayLowerTheLimits) {
  const std::string onnx = bytes();
  const auto refused = [&](const fewshift::Limits& limits) {
    try {
      fewshift::Session(fewshift::Model(fewshift::Bytes{onnx.data(), onnx.size()}, limits));
      return std::string();
    } catch (const fewshift::v1::Error& error) {
      EXPECT_EQ(error.status(), FEWSHIFT_UNSUPPORTED);
      return std::string(error.what());
    }
  };
  EXPECT_EQ(refused({}), "");
  EXPECT_NE(refused({1000}).find("1000 bytes"), std::string::npos);
  EXPECT_NE(refused({0, 10}).find("10 are read at most"), std::string::npos);
  EXPECT_NE(refused({0, 0, 5000}), "");
  EXPECT_NE(refused({0, 0, 0, 5000}).find("bytes for its maps"), std::string::npos);
  EXPECT_NE(refused({0, 0, 0, 0, 5000}).find("multiply-adds"), std::string::npos);
  EXPECT_THROW(fewshift::Model(file(), {1000}), fewshift::v1::Error);
}

TEST_F(Api, NanAndNamesOfStrangersAreNotPassedOn) {
  Graph g = network();
  g.metadata["class_names"] = R"(["a\u001b[31m\nb","c","d","e","f","g","h"])";
  for (auto& node : g.nodes) {
    if (std::holds_alternative<fewshift::graph::Linear>(node.op))
      g.values[node.inputs[2]].constant->values[0] = NAN;
  }
  const std::string onnx = fewshift::graph::format_onnx(g);
  const fewshift::Model model(fewshift::Bytes{onnx.data(), onnx.size()});
  EXPECT_EQ(model.class_names()[0], "a [31m b");
  fewshift::Session session(model);
  try {
    const fewshift::Image image = picture(9, 9);
    session.classify(fewshift::Pixels{image.pixels.data(), 9, 9});
    FAIL();
  } catch (const fewshift::v1::Error& error) {
    EXPECT_EQ(error.status(), FEWSHIFT_NUMERIC);
  }
}

TEST_F(Api, NetworksThatAreNoClassifiersRunOnTensors) {
  Graph g;
  g.input_dims = {-1, 2, 3, 5};
  g.input = g.add_value("x");
  g.output = g.add("relu", fewshift::graph::Unary{}, {g.input});
  const std::string onnx = fewshift::graph::format_onnx(g);
  fewshift::Session session(fewshift::Model(fewshift::Bytes{onnx.data(), onnx.size()}));
  EXPECT_TRUE(session.model().class_names().empty());
  EXPECT_EQ(session.model().features(), 0);
  std::vector<float> x(30, -1), features;
  x[7] = 2;
  const std::vector<float> y = session.run(x, &features);
  EXPECT_TRUE(features.empty());
  for (size_t k = 0; k < 30; ++k) EXPECT_EQ(y[k], k == 7 ? 2 : 0);
  const fewshift::Image image = picture(9, 9);
  EXPECT_THROW(session.classify(fewshift::Pixels{image.pixels.data(), 9, 9}), fewshift::v1::Error);
  EXPECT_THROW(session.run({1, 2, 3}), std::invalid_argument);
}

}  // namespace
