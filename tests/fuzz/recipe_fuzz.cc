// Any bytes as a recipe: an Error, or one that reads the same when it is written.
// SPDX-License-Identifier: Apache-2.0
#include "core/error.h"
#include "core/file.h"
#include "memory_file.h"
#include "train/recipe.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fewshift;
  const MemoryFile file(data, size);
  Recipe recipe;
  try {
    read_recipe(file.path(), recipe);
    check_recipe(recipe);
  } catch (const Error&) {
    return 0;
  }
  const std::string text = format_recipe(recipe);
  const MemoryFile written(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  Recipe again;
  read_recipe(written.path(), again);  // no Error here
  if (field_values(again) != field_values(recipe)) std::abort();
  return 0;
}
