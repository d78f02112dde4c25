// What the journal takes from memory, and gives to it, without knowing who owns that memory: values and callbacks.
// lib/backlog makes them out of blocks. Used by the thread that calls the journal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "journal/format.h"

namespace sluice::journal {

// One request of a commit: its framed events in one piece of memory.
struct CommitRequest {
  std::span<const std::byte> body;
  std::uint64_t first_sequence = 0;
  std::uint32_t events = 0;
};
// Writes the frames of request i into its body. The journal calls it once it knows the offset of the body's first byte,
// because the checksum of a record depends on its place.
using Framer = std::function<void(std::size_t i, std::uint64_t seed, std::uint64_t offset)>;

// Events that were committed, are not synced, and are still in memory.
class UnsyncedEvents {
 public:
  // Adds those whose records are in this segment; views are valid until the next call.
  virtual void add_records(std::uint64_t segment, std::vector<Record>& to) const = 0;
  // The records of those events have moved. Called with the journal's lock held.
  virtual void moved(std::uint64_t from, std::uint64_t to) = 0;

 protected:
  ~UnsyncedEvents() = default;
};

// A piece of memory to read into, not initialised.
using Buffer = std::unique_ptr<std::byte[], std::function<void(std::byte*)>>;
using BufferSource = std::function<Buffer(std::size_t bytes)>;

}  // namespace sluice::journal
