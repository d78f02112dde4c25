// Where a batch of events is delivered: the one interface that a user of Sluice implements.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string_view>

#include "sluice/api.h"
#include "sluice/event.h"

namespace sluice {

// Made, used and destroyed on its worker's thread, and lives as long as that thread; so it needs no locks of its own.
// Past the deadline a worker that is stuck in its sink is let go: what a sink refers to must be owned by it (or shared
// with it), since it may outlive the tracker.
class SLUICE_API Sink {
 public:
  Sink() = default;
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;
  virtual ~Sink() = default;

  // Delivers `batch`, in order, and says a verdict for each (same index; all begin as try_again). `delivered` must be
  // as durable as the tracker's ack level. An exception means try_again for the whole batch. Once `stop` is requested
  // the answer is no longer waited for, so return soon; callbacks registered on `stop` must not block.
  virtual void deliver(std::span<const Delivery> batch, std::span<Verdict> verdicts, std::stop_token stop) = 0;

  // For logs, and for naming who holds up a stop. Called on the worker's thread, once, after construction.
  [[nodiscard]] virtual std::string_view name() const noexcept { return "sink"; }
};

// Called once on each worker's thread, by several at a time. An exception refuses the start: Tracker's constructor
// throws it.
using SinkFactory = std::function<std::unique_ptr<Sink>()>;

// The plain way: called for each event, from every worker's thread at a time. Returning delivers, throwing tries again.
using Handler = std::function<void(const Delivery&)>;

}  // namespace sluice
