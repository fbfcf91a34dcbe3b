// Batches of ready pictures, made ahead by worker threads.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/transforms.h"

namespace fewshift {

struct Batch {
  int64_t number = 0;           // in the epoch, from 0; a batch whose pictures are all broken is passed over
  int64_t size = 0;             // pictures in it: fewer than `batch` where some were broken
  std::vector<float> images;    // [size][S][S][3] (channels last), normalised
  std::vector<int64_t> labels;  // [size]
  std::vector<size_t> indices;  // [size], in the data set
};

struct LoaderOptions {
  int batch = 64;
  int workers = 2;  // threads; at least 1
  uint64_t seed = 0;
  // An order that depends on (seed, epoch) alone. Of a data set in runs (shards), the runs are shuffled, and
  // pictures within a window of so many that slides over them.
  bool shuffle = false;
  size_t window = 8192;
  // As many batches, but about equal ones of at most `batch` pictures, none of them a small rest.
  bool even = false;
  // Of each batch, the share of one of several processes. Together they see what one process would.
  int part = 0, parts = 1;
  bool images = true;  // false: their numbers and labels alone, and none is opened
  Augment augment;     // picture `index` in `epoch` is augmented by Random{seed, epoch, index} alone
  Preprocess preprocess;
};

// A picture that cannot be decoded is left out of its batch, counted and named; the epoch goes on.
class Loader {
 public:
  Loader(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options);
  ~Loader();               // stops the workers
  size_t batches() const;  // in an epoch
  // Begins `epoch` (from 0) at batch `first`; the batches are the same as those of an epoch begun at 0.
  void start(uint64_t epoch, size_t first = 0);
  // The next batch, in order; false at the end of the epoch. Never an empty batch, but of several parts one
  // may be. Throws Error where every picture of an epoch is broken, naming the first.
  bool next(Batch& batch);
  // Name -> reason, of the pictures left out so far.
  std::map<std::string, std::string> broken() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fewshift
