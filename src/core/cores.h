// How many processors there are for this process.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace fewshift {

// Those it may run on, and of them as many as its control group's quota of time pays for; at least 1.
int cores();

// Those of them that nothing else keeps busy now, and has not for the last minute; at least 1.
int free_cores();

}  // namespace fewshift
