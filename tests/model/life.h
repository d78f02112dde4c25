// What the model needs of a journal to live one life with it, from a start to whatever end: an adapter a kind of
// journal. One thread calls; what runs beneath is the adapter's. Nothing here throws but the start.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
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
    none,          // nobody answered, which is a broken promise
  } kind = unknown;
  sluice::EventId first = {};
};

struct Handed {
  sluice::EventId id;
  std::string payload;
};

// The payloads of one request.
using Asked = std::vector<std::string>;

// During an orderly end a worker has these, and delivers. False: the sink failed. Any thread.
using Deliver = std::function<bool(std::span<const Handed> batch)>;

// What a whole run is about; every life in it starts with the same.
struct Setup {
  std::uint64_t journal_bytes = 0;
  std::uint64_t segment_bytes = 0;
  sluice::Ack ack = sluice::Ack::synced;
  // Under `written`: the sink makes durable what it has; `delivered` is what who asks had delivered since it asked
  // last. False: not. Any thread.
  std::function<bool(std::span<const sluice::EventId> delivered)> sync_sink;
  std::function<void(std::string_view)> log;  // for the trace, on any thread; may be empty
};

// How an orderly end went, by its own account.
struct Stop {
  bool drained = false;    // nothing that it had in memory is left
  bool for_good = false;   // what was taken, and what was settled, survives power loss now
  bool synced = true;      // under `written`: sinks were asked to sync what they had, and have answered
  bool accounted = false;  // what was taken and is not lost survives the end of the process, under `queued` too
  std::uint64_t lost = 0;  // events that the stop could not write down
  std::uint64_t kept = 0;  // as its report says: the next start has as many, at least
};

// An event that came behind a younger one of its run.
struct Overtaken {
  sluice::EventId event;
  std::uint64_t by = 0;
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
  // The sink has these, and under `written` may not have synced them. In memory until write_settles(); sync_settles()
  // says whether all that was settled before, and written, survives power loss now.
  virtual void settle(std::span<const sluice::EventId> ids) = 0;
  // Under `written`: the sink is asked to sync. True: all that was settled before counts as settled.
  virtual bool sync_sink() = 0;
  virtual void write_settles() = 0;
  virtual bool sync_settles() = 0;
  // What the journal does by and by: it removes finished segments, copies forward, tries the disk again.
  virtual void maintain() = 0;
  // The journal looks for files that somebody has removed. True: what it holds is in files that have a name.
  [[nodiscard]] virtual bool look_for_names() { return false; }
  // Everything was handed out.
  [[nodiscard]] virtual bool all_taken() = 0;
  // What this start took over, in events, if it says so.
  [[nodiscard]] virtual std::optional<std::uint64_t> replayed() const { return std::nullopt; }
  // What this start found damaged for good, in events.
  [[nodiscard]] virtual std::uint64_t lost() const { return 0; }
  // A failed sync has thrown pages away, and what was in them was not written anew, up to the end of the world.
  [[nodiscard]] virtual bool lost_pages() const { return false; }
  // So many events of earlier runs are gone with such pages, by what the journal has said.
  [[nodiscard]] virtual std::uint64_t thrown_away() const { return 0; }
  // What it has seen so far that must not be, such as room that did not come back; empty: nothing.
  [[nodiscard]] virtual std::string complaint() { return {}; }
  // It takes more of the disk than it may. No fault where the disk has refused something: what could not be removed
  // stays.
  [[nodiscard]] virtual std::string overuse() { return {}; }
  // Once. No fault where durable bytes were damaged: what stands broken in a copy comes later, from where it stood
  // before it was copied.
  [[nodiscard]] virtual std::optional<Overtaken> overtaken() { return std::nullopt; }
  // An orderly end, while these are sent. Whoever has no workers delivers nothing more, and does the one behind the
  // other.
  [[nodiscard]] virtual Stop close(std::span<const Asked> requests, std::vector<Answer>& answers,
                                   const Deliver& deliver) = 0;
};

// Throws std::exception if the journal does not open. `life` counts the lives of a run from 0; randomness, run ids
// included, comes from the seed.
using Starter =
    std::function<std::unique_ptr<Life>(MemoryDisk& disk, const Setup& setup, std::uint64_t life, std::uint64_t seed)>;

}  // namespace model
