// SPDX-License-Identifier: Apache-2.0
#include "model/evaluate.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace fewshift {
namespace {

// The pictures with the labels of a model that knows their classes, among others, by other numbers.
class Relabelled : public Dataset {
 public:
  Relabelled(std::shared_ptr<const Dataset> pictures, std::vector<int> labels)
      : pictures_(std::move(pictures)), labels_(std::move(labels)) {}
  size_t size() const override { return pictures_->size(); }
  int label(size_t index) const override { return labels_[pictures_->label(index)]; }
  std::string name(size_t index) const override { return pictures_->name(index); }
  std::shared_ptr<const Image> image(size_t index) const override { return pictures_->image(index); }
  std::string file(size_t index) const override { return pictures_->file(index); }
  std::vector<std::pair<size_t, size_t>> runs() const override { return pictures_->runs(); }

 private:
  const std::shared_ptr<const Dataset> pictures_;
  const std::vector<int> labels_;  // of each class of theirs
};

// The model's number of each class of the data.
std::vector<int> numbers_of(const std::vector<std::string>& data, const std::vector<std::string>& model,
                            const std::string& where) {
  std::vector<int> numbers;
  for (const std::string& name : data) {
    const auto found = std::find(model.begin(), model.end(), name);
    if (found == model.end())
      throw Error(ErrorCode::kInvalidArgument, where,
                  "its class " + name + " is none of the model's " + std::to_string(model.size()) + ", " +
                      model[0] + " and so on");
    numbers.push_back(static_cast<int>(found - model.begin()));
  }
  return numbers;
}

// pictures [count][size][size][3]
void mirror(std::vector<float>& pictures, int64_t size) {
  for (auto row = pictures.begin(); row != pictures.end(); row += size * 3) {
    for (int64_t j = 0; j < size / 2; ++j)
      std::swap_ranges(row + j * 3, row + j * 3 + 3, row + (size - 1 - j) * 3);
  }
}

// Adds one picture's logits to the sums behind top-1, top-5 and loss.
void add(const float* logits, int64_t classes, int64_t label, Evaluation& sums) {
  const double own = logits[label];
  int64_t before = 0;  // classes that come before the right one; of equals, the first
  double total = 0;
  const double most = *std::max_element(logits, logits + classes);
  for (int64_t c = 0; c < classes; ++c) {
    before += logits[c] > own || (logits[c] == own && c < label);
    total += std::exp(logits[c] - most);
  }
  sums.loss += most + std::log(total) - own;
  sums.top1 += before < 1 && std::isfinite(own);
  if (sums.top5) *sums.top5 += before < 5 && std::isfinite(own);
  ++sums.images;
}

}  // namespace

std::map<std::string, std::string> each_batch(const Logits& logits, int64_t classes,
                                              const Preprocess& preprocess,
                                              std::shared_ptr<const Dataset> dataset,
                                              const EvaluateOptions& options,
                                              const std::function<void(const Batch&, const float*)>& take) {
  LoaderOptions loading;
  loading.batch = options.batch;
  loading.workers = options.workers;
  loading.preprocess = preprocess;
  Loader loader(std::move(dataset), loading);
  loader.start(0);
  Batch batch;
  std::vector<float> scores, mirrored;
  while (loader.next(batch)) {
    scores.resize(batch.size * classes);
    logits(batch.images.data(), batch.size, scores.data());
    if (options.flip) {
      mirror(batch.images, preprocess.size);
      mirrored.resize(scores.size());
      logits(batch.images.data(), batch.size, mirrored.data());
      for (size_t k = 0; k < scores.size(); ++k) scores[k] = (scores[k] + mirrored[k]) / 2;
    }
    take(batch, scores.data());
  }
  return loader.broken();
}

Evaluation evaluate(const Logits& logits, int64_t classes, const Preprocess& preprocess,
                    std::shared_ptr<const Dataset> dataset, const EvaluateOptions& options,
                    const std::function<void(const Batch&, const float*)>& also) {
  Evaluation result;
  if (classes > 5) result.top5 = 0;
  result.broken = each_batch(logits, classes, preprocess, std::move(dataset), options,
                             [&](const Batch& batch, const float* scores) {
                               for (int64_t n = 0; n < batch.size; ++n)
                                 add(scores + n * classes, classes, batch.labels[n], result);
                               if (also) also(batch, scores);
                             });
  if (result.images > 0) {
    const auto images = static_cast<double>(result.images);
    result.top1 /= images, result.loss /= images;
    if (result.top5) *result.top5 /= images;
  }
  return result;
}

Data open_for(const ModelInfo& info, const std::filesystem::path& folder) {
  DataOptions opening;
  opening.cache_bytes = 0;
  opening.val_share = 0;
  opening.min_side = decode_min_side(info.preprocess);
  return open_data(folder, opening);
}

Measured measure(const TrainedClassifier& classifier, const std::filesystem::path& folder,
                 const EvaluateOptions& options, const OwnVal& own_val) {
  const std::vector<std::string>& classes = classifier.info.class_names;
  const Data data = open_for(classifier.info, folder);
  auto pictures = data.test ? data.test : data.val;
  if (!pictures && own_val) pictures = own_val(classifier.info);
  if (!pictures)
    throw Error(ErrorCode::kNotFound, folder.string(), "has neither test/ nor val/ to measure on");
  auto labelled = pictures;
  if (data.class_names != classes)
    labelled = std::make_shared<Relabelled>(pictures, numbers_of(data.class_names, classes, folder.string()));
  return {data.test ? "test" : "val", data.passed_over,
          evaluate(classifier.logits, static_cast<int64_t>(classes.size()), classifier.info.preprocess,
                   labelled, options)};
}

}  // namespace fewshift
