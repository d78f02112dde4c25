// The journal of this project as the model drives it: its single-threaded core, one step at a time. One thread.
#pragma once

#include "model/life.h"

namespace model {

[[nodiscard]] Starter journal_starter();

// Syncs of segments that have failed so far.
[[nodiscard]] std::uint64_t failed_segment_syncs(const MemoryDisk& disk);

}  // namespace model
