// The journal of this project as the model drives it: its single-threaded core, one step at a time. One thread.
#pragma once

#include "model/life.h"

namespace model {

[[nodiscard]] Starter journal_starter();

// Syncs of segments that have failed so far.
[[nodiscard]] std::uint64_t failed_segment_syncs(const MemoryDisk& disk);

// What the journal's files hold of the disk is more than it may be, or so is how many they are; empty: neither.
[[nodiscard]] std::string overuse_of(const MemoryDisk& disk, std::uint64_t journal_bytes);

// How many events of a tail that an earlier run wrote a failed sync in this life has thrown away, if that is what this
// line of the log says: they are in no memory, so they cannot be written anew.
[[nodiscard]] std::uint64_t thrown_away_by(std::string_view line);
// It says that events are held back until they can be written anew: younger ones come meanwhile.
[[nodiscard]] bool holds_back(std::string_view line);

}  // namespace model
