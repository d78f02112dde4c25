// See the header. Read from deliver() down.
#include "workers/sink_call.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <new>
#include <system_error>
#include <vector>

namespace sluice {

namespace {

using Clock = std::chrono::steady_clock;

// How often a suspect may fail while other events are delivered.
constexpr std::uint32_t kMaxPassedOver = 5;
// The same for an event whose verdict is try_again, unless the user sets a retry_limit.
constexpr std::uint32_t kDefaultRetryLimit = 20;

bool is_refused(const Verdict& verdict) { return verdict.kind() == Verdict::refused; }
bool is_delivered(const Verdict& verdict) { return verdict.kind() == Verdict::delivered; }

}  // namespace

std::string reason_of_exception() noexcept {
  try {
    try {
      throw;
    } catch (const std::exception& e) {
      return e.what();
    } catch (...) {
      return "an exception that is no std::exception";
    }
  } catch (const std::bad_alloc&) {
    return {};
  }
}

bool SinkCall::deliver(Sink& sink, Batch& batch, const std::stop_token& stop, Outcome& outcome) {
  batch.clear_verdicts();
  stats_.batch_begins(batch);
  if (!claim_.enter_sink()) return false;

  outcome.in_stop = pool_.stopping.load();
  const auto began = Clock::now();
  stats_.deliver_begins(batch.size(), began);
  try {
    sink.deliver(batch.deliveries(), batch.verdicts(), stop);
  } catch (...) {
    outcome.reason = reason_of_exception();
    batch.clear_verdicts();
  }
  stats_.deliver_ends(began, Clock::now());
  if (claim_.state() == WorkerState::kept) return false;

  const auto delivered = static_cast<std::size_t>(std::ranges::count_if(batch.verdicts(), is_delivered));
  if (delivered == batch.size()) return true;
  if (sink.gone() && !pool_.gone.exchange(true)) pool_.flow.door.hasten(Clock::now());  // a stop need not wait for it
  judge(batch, delivered, outcome);
  return bury_refused(batch, outcome);
}

// Called if some events were not delivered: refuses the ones that failed too often.
void SinkCall::judge(Batch& batch, std::size_t delivered, Outcome& outcome) {
  const History& history = batch.history();
  const std::size_t limit = pool_.flow.options.retry_limit.value_or(0);
  const std::uint32_t max_passed_over = pool_.flow.options.retry_limit ? UINT32_MAX : kDefaultRetryLimit;
  outcome.passed_over = history.passed_over + (others_pass(history, delivered) ? 1 : 0);
  outcome.works =
      std::ranges::any_of(batch.verdicts(), [](const Verdict& v) { return v.kind() != Verdict::try_again; });

  std::size_t again = 0;
  for (Verdict& verdict : batch.verdicts()) {
    if (verdict.is_final()) continue;
    ++again;
    try {
      if (outcome.reason.empty()) outcome.reason = verdict.reason();
      const std::string_view reason = or_none(verdict.reason().empty() ? outcome.reason : verdict.reason());
      if (limit > 0 && history.attempt >= limit) {
        verdict = {Verdict::refused, fmt::format("given up after {} attempts: {}", history.attempt, reason)};
      } else if (outcome.passed_over >= (verdict == Verdict::suspect ? kMaxPassedOver : max_passed_over)) {
        verdict = {Verdict::refused,
                   fmt::format("it failed {} times while others were delivered: {}", outcome.passed_over, reason)};
      }
    } catch (const std::bad_alloc&) {
      continue;  // the event is tried again
    }
  }
  if (again > 0) pool_.log.sink_failed(stats_.name(), again, history.attempt, outcome.reason);
}

// Whether the sink delivered other events since this batch failed last. Suspects that fill more than half of the window
// keep out the events that could show it, so that counts as well; otherwise they would stay for ever.
bool SinkCall::others_pass(const History& history, std::size_t delivered) const {
  const Admission& door = pool_.flow.door;
  const bool fills_window =
      pool_.flow.queue.size_approx() == 0 && !door.has_room(door.event_limit() / 2, door.window_bytes() / 2);
  const bool is_suspect = history.suspect && history.attempt > 1;
  return delivered > 0 || (history.attempt > 1 && pool_.flow.ledger.delivered() > history.delivered_then) ||
         (is_suspect && fills_window);
}

// Refused events count as dead only once their letters are stored; if that fails they are tried again. Meanwhile the
// batch cannot be taken away, because the events would be kept as well as dead; the exception is a disk that takes
// longer than a stop can wait. False: it was taken away.
bool SinkCall::bury_refused(Batch& batch, Outcome& outcome) {
  if (std::ranges::none_of(batch.verdicts(), is_refused)) return true;
  if (!claim_.bury()) return false;
  std::error_code error;
  std::vector<DeadLetter> dead;
  try {
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const Verdict& verdict = batch.verdicts()[i];
      if (is_refused(verdict)) dead.push_back({batch.deliveries()[i], verdict.reason()});
    }
    error = pool_.flow.bury(dead);
  } catch (const std::bad_alloc&) {
    error = std::make_error_code(std::errc::not_enough_memory);
  }
  if (!error) {
    pool_.log.dead(stats_.name(), dead);
    return true;
  }
  outcome.unburied = true;
  pool_.log.burial_failed(static_cast<std::size_t>(std::ranges::count_if(batch.verdicts(), is_refused)), error);
  for (Verdict& verdict : batch.verdicts()) {
    if (is_refused(verdict)) verdict = Verdict::try_again;
  }
  return true;
}

}  // namespace sluice
