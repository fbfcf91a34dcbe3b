// What a classifier says of each picture of a data set, and what can be read from that.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/evaluate.h"

namespace fewshift {

struct Predictions {
  int64_t classes = 0;
  std::vector<size_t> pictures;               // numbers in the data set, in order
  std::vector<int64_t> labels;                // [pictures]
  std::vector<float> logits;                  // [pictures][classes]
  std::map<std::string, std::string> broken;  // left out: name -> reason
  int64_t size() const { return static_cast<int64_t>(labels.size()); }
};

Predictions predict_all(const Logits& logits, int64_t classes, const Preprocess& preprocess,
                        std::shared_ptr<const Dataset> dataset, const EvaluateOptions& options);

// Softmax of logits / temperature: [classes]. Throws Error (kNumeric) for NaN.
std::vector<double> probabilities(const float* logits, int64_t classes, double temperature = 1);
// Of one picture.
std::vector<double> probabilities(const Predictions& p, int64_t picture, double temperature = 1);
// The class of the largest logit; of equals, the first.
int64_t predicted(const Predictions& p, int64_t picture);

double top1(const Predictions& p);  // the share given its class; 0 for no picture
// Mean cross entropy of logits / temperature.
double mean_loss(const Predictions& p, double temperature = 1);

// The temperature of least loss, from 0.05 to 20 (Guo et al., "On Calibration of Modern Neural Networks",
// ICML 2017): by golden sections of its logarithm, in which the loss has one minimum. 1 for no picture.
double fit_temperature(const Predictions& p);

// Pictures by the probability of the class they were given, in `bins` equal parts of 0 to 1.
struct Reliability {
  struct Bin {
    int64_t pictures = 0, right = 0;
    double confidence = 0;  // mean
  };
  std::vector<Bin> bins;
  double expected_error = 0;  // ECE: mean of |accuracy - confidence| over the pictures, bin by bin
};
Reliability reliability(const Predictions& p, double temperature, int bins = 15);

// confusion[true * classes + predicted]: pictures.
std::vector<int64_t> confusion(const Predictions& p);

// Of one class; 0 where a quotient has no denominator.
struct ClassScore {
  int64_t pictures = 0, given = 0, right = 0;  // of the class; that were given to it; both
  double precision = 0, recall = 0, f1 = 0;
};
std::vector<ClassScore> class_scores(const std::vector<int64_t>& confusion, int64_t classes);

}  // namespace fewshift
