// How OpenMP's threads wait for one another.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace fewshift::cli {

// The program's arguments, as main() has them.
void remember_arguments(char** argv);

// Has OpenMP's threads spin for some tenths of a millisecond before they sleep, in place of milliseconds, in
// which a thread that waits for one without a core takes that core's time. OpenMP reads how from the
// environment, once, when the program is loaded: so it is started anew, in this process, unless the
// environment says how (OMP_WAIT_POLICY, GOMP_SPINCOUNT) or remember_arguments was not called. To be called
// before any work is done.
void wait_briefly();

}  // namespace fewshift::cli
