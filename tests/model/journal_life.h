// The journal of this project as the model drives it: its single-threaded core, one step at a time. One thread.
#pragma once

#include "model/life.h"

namespace model {

[[nodiscard]] Starter journal_starter();

}  // namespace model
