// The façade: a tracker owns an engine and forwards each call to it, on the caller's thread. START HERE is in the
// header; the implementation begins in engine.h.
#include "sluice/tracker.h"

#include <utility>

#include "sinks/handler_sink.h"
#include "sluice/host.h"
#include "tracker/engine.h"

namespace sluice {

Tracker::Tracker(Options options, SinkFactory sinks) : Tracker(std::make_shared<Engine>(std::move(options)), sinks) {}

Tracker::Tracker(Options options, Handler handler) : Tracker(std::move(options), handler_sinks(std::move(handler))) {}

Tracker::Tracker(std::shared_ptr<Engine> engine, const SinkFactory& sinks) : engine_(std::move(engine)) {
  engine_->start(sinks, engine_);
}

Tracker::~Tracker() { engine_->retire(); }

Admit Tracker::track(std::span<const Event> events) { return engine_->track(events); }

Submission Tracker::track(std::span<const Event> events, const Receipt& receipt) {
  return engine_->track(events, receipt);
}

Admit Tracker::wait_track(std::span<const Event> events, Deadline deadline) {
  return engine_->wait_track(events, deadline);
}

Report Tracker::shutdown(Deadline deadline) {
  // Held until the end: a worker that is left behind may be the only other owner.
  const std::shared_ptr<Engine> engine = engine_;
  return engine->shutdown(deadline);
}

Books Tracker::books() const noexcept { return engine_->books(); }

Status Tracker::status() const { return engine_->status(); }

const RunId& Tracker::run() const noexcept { return engine_->run(); }

void Host::hasten(Deadline deadline) const { tracker_->engine_->hasten(deadline); }

std::chrono::nanoseconds Host::least_drain() const noexcept { return tracker_->engine_->least_drain(); }

Books Host::books_at_exit() const noexcept { return tracker_->engine_->books_at_exit(); }

bool Host::disk_failed() const noexcept { return tracker_->engine_->disk_failed(); }

void Host::announce_stop() const { tracker_->engine_->announce_stop(); }

Phase Host::phase() const noexcept { return tracker_->engine_->phase(); }

Metrics Host::metrics() const { return tracker_->engine_->metrics(); }

DeadLettersMoved Host::requeue_dead_letters(std::size_t at_most) const {
  return tracker_->engine_->requeue_dead_letters(at_most);
}

DeadLettersMoved Host::drop_dead_letters(std::size_t at_most) const {
  return tracker_->engine_->drop_dead_letters(at_most);
}

}  // namespace sluice
