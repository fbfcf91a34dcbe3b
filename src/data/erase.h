// Random erasing: a rectangle of the picture goes (Zhong, Zheng, Kang, Li and Yang, 2017).
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "core/random.h"

namespace fewshift {

// Sets a rectangle of the normalised picture [size][size][3] to 0, the mean colour. Its area is uniform in
// 0.02 to 1/3 of the picture's, the logarithm of its height / width uniform in log 0.3 to log 3.3, before
// both sides are rounded to whole pixels; anywhere in the picture, both sides shorter than its. Ten tries;
// where none fits (as in 1 x 1), nothing is erased.
void erase_rectangle(float* picture, int size, Random& random);

}  // namespace fewshift
