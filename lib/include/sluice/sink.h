// Where a batch of events is delivered: the one interface that a user of Sluice implements, here or as a plain handler.
//
// An event comes at least once. It comes again, under the same id, after `try_again`, after a crash, and in the next
// run if it was in a sink when a deadline passed: a sink that must not have it twice goes by its id. A sink may call
// Tracker::track(), for what follows from an event; not wait_track() and not shutdown().
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string_view>

#include "sluice/api.h"
#include "sluice/event.h"
#include "sluice/options.h"

namespace sluice {

// What a sink is told by the tracker that makes it: one value for all its sinks but for the worker's number. So a sink
// cannot be weaker than the acknowledgement by a default that somebody forgot.
struct SinkContext {
  Ack ack = Ack::queued;   // `delivered` must be as durable as this; see Sink::sync() for `written`
  LogHook log;             // for what is no event's verdict; may be empty. Any thread, as long as the sink lives
  std::size_t worker = 0;  // from 0
};

// Made, used and destroyed on its worker's thread, and lives as long as that thread; so it needs no locks of its own.
// Past the deadline a worker that is stuck in its sink is let go: what a sink refers to must be owned by it (or shared
// with it), since it may outlive the tracker.
class SLUICE_API Sink {
 public:
  Sink() = default;
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;
  virtual ~Sink() = default;

  // Delivers `batch`, in order, and says a verdict for each (same index; all begin as try_again). It holds 1 to
  // Options::batch_events events and at most 1 MiB of payload, unless one alone is more; all of it is valid during the
  // call only. It may take its time: nobody waits for it but its own worker. `delivered` must be as durable as the
  // tracker's ack level. An exception means try_again for the whole batch. Past the deadline `stop` is requested, and
  // the answer no longer waited for: return soon. Callbacks registered on `stop` run on the thread that shuts down;
  // they must not block.
  virtual void deliver(std::span<const Delivery> batch, std::span<Verdict> verdicts, std::stop_token stop) = 0;

  // Makes durable what earlier deliver() calls of this sink have said is delivered. Called on the worker's thread under
  // Ack::written, at least once a second if anything was delivered since (sooner where it takes less than a fiftieth of
  // the time), and before the worker ends. Until it has succeeded nothing on disk says that these events are finished:
  // after a crash, or past a deadline at which this has not returned, they come again in the next run. An exception
  // means that it failed: it is logged, and they come again too, even if a later sync() succeeds; until then their
  // records take up room in the journal. Under Ack::synced deliver() itself returns durable, and this is not called.
  virtual void sync() {}

  // True: this sink never delivers anything again (the reader of a pipe is gone). Asked after a deliver() that left
  // events undelivered; a stop then keeps them at once instead of trying up to its deadline.
  [[nodiscard]] virtual bool gone() const noexcept { return false; }

  // For logs, and for naming who holds up a stop. Called on the worker's thread, once, after construction.
  [[nodiscard]] virtual std::string_view name() const noexcept { return "sink"; }
};

// Called once on each worker's thread, by several at a time, while the tracker is constructed. An exception refuses the
// start: Tracker's constructor throws it. It must return a sink.
using SinkFactory = std::function<std::unique_ptr<Sink>(const SinkContext&)>;

// The plain way: called for each event, by several workers at a time. Returning delivers, throwing tries again. It owns
// what it refers to, or shares it, for the same reason as a sink. Who wants to see a stop, or to refuse an event, needs
// a Sink.
using Handler = std::function<void(const Delivery&)>;

}  // namespace sluice
