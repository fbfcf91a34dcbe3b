// How well a classifier does on a data set. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "data/loader.h"
#include "data/open.h"
#include "model/info.h"

namespace fewshift {

// Logits [count][classes] of pictures [count][size][size][3], ready for the network.
using Logits = std::function<void(const float* pictures, int64_t count, float* logits)>;

// A trained network, of whichever half.
struct TrainedClassifier {
  ModelInfo info;
  Logits logits;
};

struct Evaluation {
  double top1 = 0;             // from 0 to 1
  std::optional<double> top5;  // likewise; of at most five classes it would be no figure
  double loss = 0;             // mean cross entropy
  int64_t images = 0;
  std::map<std::string, std::string> broken;  // pictures left out: name -> reason
};

struct EvaluateOptions {
  int batch = 100;
  int workers = 2;
  bool flip = false;  // the mean of the logits of each picture and its mirror image
};

// Calls `take(batch, its logits [size][classes])` for all pictures, in order; returns those left out, name ->
// reason.
std::map<std::string, std::string> each_batch(const Logits& logits, int64_t classes,
                                              const Preprocess& preprocess,
                                              std::shared_ptr<const Dataset> dataset,
                                              const EvaluateOptions& options,
                                              const std::function<void(const Batch&, const float*)>& take);

// `also` hears of each batch too.
Evaluation evaluate(const Logits& logits, int64_t classes, const Preprocess& preprocess,
                    std::shared_ptr<const Dataset> dataset, const EvaluateOptions& options,
                    const std::function<void(const Batch&, const float*)>& also = {});

struct Measured {
  std::string split;  // "test", or "val" where there is no test
  PassedOver passed_over;
  Evaluation evaluation;
};

// What a run held out of train/ as its val.
using OwnVal = std::function<std::shared_ptr<const Dataset>(const ModelInfo&)>;

// On pictures that the model has not seen; on `own_val`, if it is given, where there is neither test/ nor
// val/. Throws Error naming `folder`: none of these; a class that is none of the model's, which may have
// more.
Measured measure(const TrainedClassifier& classifier, const std::filesystem::path& folder,
                 const EvaluateOptions& options, const OwnVal& own_val = {});

// `folder`, its pictures decoded as the model needs them and kept nowhere; train/ stays whole.
Data open_for(const ModelInfo& info, const std::filesystem::path& folder);

}  // namespace fewshift
