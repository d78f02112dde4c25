// The façade: a tracker is the owner of an engine, and hands on to it what it is asked, on the thread that asks. It
// refuses nothing itself. START HERE is in the header; behind it the code begins in engine.h.
#include "sluice/tracker.h"

#include <utility>

#include "sinks/handler_sink.h"
#include "tracker/engine.h"

namespace sluice {

Tracker::Tracker(Options options, SinkFactory sinks) : Tracker(std::make_shared<Engine>(std::move(options)), sinks) {}

Tracker::Tracker(Options options, Handler handler) : Tracker(std::move(options), handler_sinks(std::move(handler))) {}

Tracker::Tracker(std::shared_ptr<Engine> engine, const SinkFactory& sinks) : engine_(std::move(engine)) {
  engine_->start(sinks, engine_);
}

Tracker::~Tracker() { engine_->retire(); }

Admit Tracker::track(const Event& event) { return engine_->track(std::span(&event, 1)); }

Admit Tracker::track(std::span<const Event> events) { return engine_->track(events); }

Admit Tracker::track(std::span<const Event> events, const Receipt& receipt) { return engine_->track(events, receipt); }

Admit Tracker::wait_track(std::span<const Event> events, Deadline deadline) {
  return engine_->wait_track(events, deadline);
}

Report Tracker::shutdown(Deadline deadline) {
  // Held for the whole of it: a worker that is let go may be the last owner but for this thread.
  const std::shared_ptr<Engine> engine = engine_;
  return engine->shutdown(deadline);
}

void Tracker::hasten(Deadline deadline) { engine_->hasten(deadline); }

DeadLettersMoved Tracker::requeue_dead_letters(std::size_t at_most) { return engine_->requeue_dead_letters(at_most); }

DeadLettersMoved Tracker::drop_dead_letters(std::size_t at_most) { return engine_->drop_dead_letters(at_most); }

std::chrono::nanoseconds Tracker::least_drain() const noexcept { return engine_->least_drain(); }

Books Tracker::books() const noexcept { return engine_->books(); }

Books Tracker::books_at_exit() const noexcept { return engine_->books_at_exit(); }

bool Tracker::disk_failed() const noexcept { return engine_->disk_failed(); }

Phase Tracker::phase() const noexcept { return engine_->phase(); }

void Tracker::announce_stop() { engine_->announce_stop(); }

Status Tracker::status() const { return engine_->status(); }

Metrics Tracker::metrics() const { return engine_->metrics(); }

const RunId& Tracker::run() const noexcept { return engine_->run(); }

}  // namespace sluice
