// How OpenMP's threads wait for one another.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace fewshift::cli {

// The program's arguments, as main() has them.
void remember_arguments(char** argv);

// Has OpenMP's threads spin for 3,000 turns before they sleep, in place of 300,000, in which a thread that
// waits for one without a core takes that core's time (docs/performance.md). OpenMP reads how from the
// environment, once, when the program is loaded: so it is started anew, in this process, which takes a
// quarter of a second, unless the environment says how (OMP_WAIT_POLICY, GOMP_SPINCOUNT) or
// remember_arguments was not called. To be called before any work is done, and where several threads will
// work for a while.
void wait_briefly();

}  // namespace fewshift::cli
