// Checks a tracker's options. No state, any thread.
#pragma once

#include "sluice/options.h"

namespace sluice {

// The options, with the number of workers filled in. `other_disk`: there is a disk even without a state directory.
// Throws StartError (usage) for a value out of range, naming the member.
[[nodiscard]] Options checked(Options options, bool other_disk);

}  // namespace sluice
