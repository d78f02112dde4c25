// See the header.
#include "workers/rescheduler.h"

#include <algorithm>
#include <cstddef>
#include <span>

#include "workers/backoff.h"

namespace sluice {

namespace {

// With fewer batches in the lane, other deliveries can hardly show whether the sink works.
constexpr std::size_t kFewBatches = 16;

std::size_t events_in(std::span<const Slice> runs) noexcept {
  std::size_t events = 0;
  for (const Slice& run : runs) events += run.count;
  return events;
}

}  // namespace

// The batch before this call.
struct Rescheduler::Before {
  std::size_t size;
  std::uint32_t passed_over;
  bool has_failed;
};

void Rescheduler::reschedule(Batch& batch, const SinkCall::Outcome& call) {
  History history = batch.history();
  const Before before{.size = batch.size(), .passed_over = history.passed_over, .has_failed = history.attempt > 1};
  ++history.attempt;
  history.passed_over = call.passed_over;
  history.delivered_then = pool_.flow.ledger.delivered();
  if (!with_memory(pool_.flow.queue, [&] { batch.split(pool_.flow.door, again_, suspect_); })) {
    batch.release_all();
    return;
  }

  const auto due_before = pool_.lane.next_due();
  history.suspect = false;
  if (!again_.empty()) put(again_, history, before, call);
  history.suspect = true;
  if (!suspect_.empty()) put(suspect_, history, before, call);
  stats_.batch_is_gone();
  if (pool_.lane.next_due() < due_before) pool_.flow.queue.nudge();  // waiting workers expect a later due time
}

void Rescheduler::put(std::vector<Slice>& runs, History history, const Before& before, const SinkCall::Outcome& call) {
  const bool sink_works = history.suspect || (history.passed_over > 0 && (call.works || !pool_.health.failing()));
  if (call.in_stop && before.has_failed && sink_works && !call.unburied) {
    keep(runs, call.reason);
    return;
  }
  const bool at_once = pool_.stopping.load() && sink_works && !call.unburied;
  // The whole batch failed while other events passed, or there are hardly any others: half of it may be good.
  const bool in_halves = !call.works && before.has_failed && events_in(runs) == before.size &&
                         (history.passed_over > before.passed_over || pool_.lane.batches() < kFewBatches);
  const std::uint32_t doublings = call.works ? history.attempt - 2 : std::max(history.passed_over, 1U) - 1;
  if (in_halves && before.size > 1) history.passed_over = std::min(history.passed_over, 1U);  // each half starts anew
  const Options& options = pool_.flow.options;
  const auto longest = backoff::doubled(options.retry_min, options.retry_max, doublings);
  const auto wait = at_once ? std::chrono::nanoseconds{0} : backoff::jittered({}, longest, random_);
  const auto into_lane = [&] { pool_.lane.put(runs, history, wait, in_halves); };
  if (!with_memory(pool_.flow.queue, into_lane)) pool_.lane.keep(runs);
  runs.clear();
}

// The events wait for the next start, and the stop no longer waits for them.
void Rescheduler::keep(std::vector<Slice>& runs, std::string_view reason) {
  const std::size_t events = events_in(runs);
  std::uint64_t number = pool_.kept.fetch_add(events);
  for (const Slice& run : runs) {
    for (std::uint32_t i = run.first; i < run.first + run.count && number < PoolLog::kMaxNamed; ++i, ++number) {
      pool_.log.kept(stats_.name(), run.block->delivery(i).id, reason);
    }
  }
  pool_.lane.keep(runs);
  pool_.flow.door.give_back_events(events);
}

}  // namespace sluice
