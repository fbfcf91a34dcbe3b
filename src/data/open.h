// Opens a folder of labelled pictures, whatever its layout.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/passed_over.h"

namespace fewshift {

struct DataOptions {
  uint64_t seed = 0;                     // of the split, where val/ is missing
  double val_share = 0.1;                // of train/ that becomes val where val/ is missing; 0: no val at all
  int min_side = 0;                      // decode_image's
  size_t cache_bytes = size_t{2} << 30;  // decoded pictures kept in memory, all three sets together; none of
                                         // a set that cannot fit
};

// Layouts, as Data's format names them; besides "CIFAR-10 binary" and "CIFAR-100 binary".
inline const char* const kImageFolder = "image folder";
inline const char* const kClassFolders = "class folders";  // with no train/, val/ or test/ above them
inline const char* const kTarShards = "tar shards";

// Any of the three may be null, but not all.
struct Data {
  std::string format;                    // a layout
  std::vector<std::string> class_names;  // readable: from class_names.txt where there is one
  std::shared_ptr<const Dataset> train, val, test;
  // val is a seeded part of train/; of class folders alone, of every class.
  bool val_from_train = false;
  PassedOver passed_over;  // of class folders: what lies in them besides
};

// The layout of a folder, by the names in it; "" where it has none of them.
std::string layout_of(const std::filesystem::path& root);

// Image folder: DIR/train/CLASS/*.jpg, with val/ and test/ beside it or not; classes in byte order of their
// folders; pictures in byte order of their paths, any depth below CLASS. val/ and test/ may lack a class of
// train/, but have none that train/ has not. DIR/class_names.txt: lines FOLDER<tab>NAME, or one NAME a line
// in class order. Class folders alone: DIR/CLASS/*.jpg; all of it is train, of which val is a part. CIFAR-10
// binary: data_batch_1..5.bin, test_batch.bin, batches.meta.txt; CIFAR-100 binary:
// train.bin, test.bin, fine_label_names.txt (fine labels). Tar shards (WebDataset): DIR/train-*.tar or
// DIR/train.tar, val and test likewise, and class_names.txt with one name a line in the order of the labels;
// without it classes are called by their numbers.
// Throws Error, naming the path: no such folder; neither layout; no train/ and no val/ and no test/; fewer
// than two classes; a class folder of train/ with no picture in it; a .bin whose size is not a whole number
// of records, or with a label out of range.
Data open_data(const std::filesystem::path& folder, const DataOptions& options);

}  // namespace fewshift
