// What a tracker's options must be. No state, any thread.
#pragma once

#include "sluice/options.h"

namespace sluice {

// The options, with what was left to us filled in: how many workers, and where lines go. `other_disk`: there is a disk
// even without a state directory. It refuses what is out of range, naming the member (StartError, usage).
[[nodiscard]] Options checked(Options options, bool other_disk);

}  // namespace sluice
