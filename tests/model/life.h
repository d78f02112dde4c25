// What the model needs of a journal to live one life with it, from a start to whatever end: an adapter a kind of
// journal. One thread. Nothing here throws but the start.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/memory_disk.h"
#include "sluice/event.h"
#include "sluice/options.h"

namespace model {

struct Answer {
  enum Kind : std::uint8_t {
    acknowledged,  // with its first id
    refused,       // certainly not taken: full, too large, closed, or the disk had failed before
    unknown,       // the disk failed under it
  } kind = unknown;
  sluice::EventId first = {};
};

struct Handed {
  sluice::EventId id;
  std::string payload;
};

// The payloads of one request.
using Asked = std::vector<std::string>;

// What a whole run is about; every life in it starts with the same.
struct Setup {
  std::uint64_t journal_bytes = 0;
  std::uint64_t segment_bytes = 0;
  sluice::Ack ack = sluice::Ack::synced;  // or written
};

class Life {
 public:
  Life() = default;
  Life(const Life&) = delete;
  Life& operator=(const Life&) = delete;
  virtual ~Life() = default;  // as if the process were gone, unless close() came before

  // One group commit: an answer each, in this order.
  virtual std::vector<Answer> commit(std::span<const Asked> requests) = 0;
  // Under `written`: all that was acknowledged survives power loss now. False: it does not.
  virtual bool sync() = 0;
  // Up to so many events that were not handed out in this life: what the last life left first.
  virtual std::vector<Handed> take(std::size_t most) = 0;
  // These are finished. In memory until write_settles(); sync_settles() says whether all that was settled before, and
  // written, survives power loss now.
  virtual void settle(std::span<const sluice::EventId> ids) = 0;
  virtual void write_settles() = 0;
  virtual bool sync_settles() = 0;
  // What the journal does by and by: it removes finished segments, copies forward, tries the disk again.
  virtual void maintain() = 0;
  // Everything was handed out.
  [[nodiscard]] virtual bool all_taken() = 0;
  // What this start found damaged for good, in events.
  [[nodiscard]] virtual std::uint64_t lost() const { return 0; }
  // It takes nothing, and what was committed and not synced may be gone.
  [[nodiscard]] virtual bool failed() const { return false; }
  // An orderly end: what was settled is on the disk.
  virtual void close() = 0;
};

// Throws std::exception if the journal does not open. `life` counts the lives of a run from 0; randomness, run ids
// included, comes from the seed.
using Starter =
    std::function<std::unique_ptr<Life>(MemoryDisk& disk, const Setup& setup, std::uint64_t life, std::uint64_t seed)>;

}  // namespace model
