// What is wrong with a folder of labelled pictures, or likely to be: found before a night of training is
// spent. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "image/image.h"

namespace fewshift {

struct CheckOptions {
  int few = 20;  // a class of train/ with fewer pictures is reported
  int threads = 1;
};

struct CheckedPicture {
  std::string part, folder, name;  // train, val or test; the class; a path, or file#number
  int width = 0, height = 0;       // px, upright
  std::string mode;                // colour_mode's; empty where the format has but one
};

struct DataCheck {
  struct Broken {
    std::string file, reason;
  };
  struct PassedOver {         // files that a training never sees
    std::string what, first;  // "named .gif", "in valid/", "directly in train/"; one of them
    int64_t files = 0;
  };
  struct Few {
    std::string part, folder;
    int64_t pictures = 0;
    std::string reason;
  };
  struct Odd {
    size_t picture;
    std::string reason;
  };
  std::string format;                                            // Data's
  std::function<std::shared_ptr<const Image>(size_t)> open;      // a picture, anew; throws Error as Dataset
  std::vector<CheckedPicture> pictures;                          // those that can be read
  std::map<std::string, std::map<std::string, int64_t>> counts;  // part, class: pictures that can be read
  std::map<std::string, int64_t> modes;
  int median_side = 0;  // of the shorter sides, px

  std::vector<Broken> broken;
  std::vector<PassedOver> passed_over;
  std::vector<std::vector<size_t>> duplicates;  // near_duplicates, those across parts or classes first
  std::vector<Few> classes;                     // with few pictures or none, or not in every part
  std::vector<Odd> sizes;                       // far from the others', or very long
  std::vector<Odd> colours;  // modes that few others have, or that lose something when read

  bool across_parts(const std::vector<size_t>& group) const;
  bool across_classes(const std::vector<size_t>& group) const;
  size_t found() const {
    return broken.size() + passed_over.size() + duplicates.size() + classes.size() + sizes.size() +
           colours.size();
  }
};

// Layouts as open_data's, but a folder that it would refuse is gone through as far as it goes. `on_progress`
// is called now and then, with the pictures done and all of them. Throws Error as open_data where there is
// nothing to check.
DataCheck check_data(const std::filesystem::path& root, const CheckOptions& options,
                     const std::function<void(size_t, size_t)>& on_progress);

}  // namespace fewshift
