// The whole engine as the model drives it: a tracker with all its threads, over the disk that loses what was not
// synced. Only the sinks are the model's: they hold each event until the run says that it is finished. So the seed
// gives the steps, and the machine what happens between them.
#pragma once

#include "model/life.h"
#include "model/scenario.h"

namespace model {

[[nodiscard]] Starter engine_starter();
[[nodiscard]] Menu engine_menu();

}  // namespace model
