// What a pool works on: the objects and callbacks that its owner (the engine) hands in. Constant after construction.
// The owner keeps all of it alive until the last worker thread has ended; see Pool's constructor.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <system_error>

#include "admission/admission.h"
#include "admission/shutdown.h"
#include "queue/event_queue.h"
#include "sluice/dead_letters.h"
#include "sluice/options.h"
#include "workers/ledger.h"

namespace sluice {

// The callbacks run on worker threads, several at a time, without a lock of the pool held.
struct Flow {
  Admission& door;
  EventQueue& queue;
  ShutdownCoordinator& stop;
  Ledger& ledger;
  const Options& options;
  std::function<void(LogLevel, std::string_view)> log;
  // Records that this worker finished these events of the block. Called before their tickets go back. Returns true if
  // the worker should sync its sink soon, because too many settles wait for it. Empty: nothing is recorded.
  std::function<bool(std::size_t worker, Block&, std::uint64_t first_sequence, std::uint32_t count)> settle;
  // Under Ack::written: this worker's sink was synced after everything it finished (`durable`), or the sync failed.
  // Returns the number of events affected. Empty: sinks need no sync().
  std::function<std::uint64_t(std::size_t worker, bool durable)> sink_synced{};
  std::chrono::milliseconds sync_every{1000};  // longest interval between syncs of a sink that delivered something
  std::chrono::milliseconds sync_soonest{50};  // shortest interval, for a sink whose sync is cheap
  // Stores the dead letters durably, all or none. After an error the events are tried again.
  std::function<std::error_code(std::span<const DeadLetter>)> bury;
};

}  // namespace sluice
