// Where a batch of events is delivered: the one interface that a user of Sluice implements, as a sink or as a handler.
//
// An event is delivered at least once: again, under the same id, after `try_again`, after a crash, and in the next run
// if it was in a sink when a deadline passed. A sink that must not process an event twice compares ids. A sink may call
// Tracker::track(), for events that follow from an event, but not wait_track() and not shutdown().
#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string_view>
#include <type_traits>
#include <utility>

#include "sluice/api.h"
#include "sluice/event.h"
#include "sluice/options.h"
#include "sluice/verdict.h"

namespace sluice {

// What the tracker passes to its sink factory: the same for all sinks except for the worker's number. So a sink cannot
// be weaker than the acknowledgement because a default was forgotten.
struct SinkContext {
  Ack ack = Ack::queued;   // `delivered` must be as durable as this; see Sink::sync() for `written`
  LogHook log{};           // for news that is no verdict; may be empty. Any thread, as long as the sink lives
  std::size_t worker = 0;  // from 0
};

// Made, used and destroyed on its worker's thread, so it needs no locks of its own. A worker that is stuck in its sink
// past the deadline is left behind: a sink must own (or share) everything it refers to, since it may outlive the
// tracker.
class SLUICE_API Sink {
 public:
  Sink() = default;
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;
  virtual ~Sink() = default;

  // Delivers `batch`, in order, and sets a verdict for each event (same index; initially try_again). A batch holds 1 to
  // Options::batch_events events and at most 1 MiB of payload, or one larger event; all views are valid only during the
  // call. It may take long: only its own worker waits for it. `delivered` must be as durable as the tracker's ack
  // level. An exception means try_again for the whole batch. Past the deadline `stop` is requested and the verdicts no
  // longer count: return soon. Callbacks registered on `stop` run on the thread that shuts down; they must not block.
  virtual void deliver(std::span<const Delivery> batch, std::span<Verdict> verdicts, std::stop_token stop) = 0;

  // Makes durable what earlier deliver() calls of this sink called delivered. Called on the worker's thread under
  // Ack::written: at least once a second if anything was delivered since (more often if it takes less than 1/50 of the
  // time), and before the worker ends. Until it succeeds, the disk does not record these events as finished: after a
  // crash, or past a deadline at which it has not returned, they are delivered again in the next run. An exception
  // means failure: it is logged, and they are delivered again too, even if a later sync() succeeds; until then their
  // records take space in the journal. Under Ack::synced deliver() itself returns durable, and this is not called.
  virtual void sync() {}

  // True: this sink never delivers anything again (for example, the reader of a pipe has gone). Called after a
  // deliver() that left events undelivered; a shutdown then keeps them at once instead of trying until its deadline.
  [[nodiscard]] virtual bool gone() const noexcept { return false; }

  // For logs, and for a report's held_up_by. Called once, on the worker's thread, after construction.
  [[nodiscard]] virtual std::string_view name() const noexcept { return "sink"; }
};

// Called once on each worker's thread, concurrently, while the tracker is constructed. It must return a sink. An
// exception refuses the start: Tracker's constructor throws it.
using SinkFactory = std::function<std::unique_ptr<Sink>(const SinkContext&)>;

// The simple way: a function that is called for each event, by several workers concurrently. Returning nothing means
// delivered; it may also return a Verdict; throwing means try_again. It must own or share what it refers to, for the
// same reason as a sink. It does not see a stop: that needs a Sink.
class Handler {
 public:
  template <typename Function>
    requires(!std::same_as<std::remove_cvref_t<Function>, Handler> && std::invocable<Function&, const Delivery&> &&
             (std::is_void_v<std::invoke_result_t<Function&, const Delivery&>> ||
              std::convertible_to<std::invoke_result_t<Function&, const Delivery&>, Verdict>))
  Handler(Function function) {  // NOLINT(google-explicit-constructor): a lambda is a handler
    if constexpr (std::is_pointer_v<Function> || requires { typename Function::result_type; }) {
      if (!function) return;  // a null pointer, an empty std::function
    }
    if constexpr (std::is_void_v<std::invoke_result_t<Function&, const Delivery&>>) {
      call_ = [run = std::move(function)](const Delivery& event) mutable -> Verdict {
        run(event);
        return Verdict::delivered;
      };
    } else {
      call_ = std::move(function);
    }
  }

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(call_); }
  Verdict operator()(const Delivery& event) const { return call_(event); }

 private:
  std::function<Verdict(const Delivery&)> call_{};
};

}  // namespace sluice
