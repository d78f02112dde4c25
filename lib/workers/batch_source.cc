// See the header. Read from try_take() down.
#include "workers/batch_source.h"

#include <algorithm>
#include <array>
#include <new>

namespace sluice {

BatchSource::Wait BatchSource::try_take(Batch& batch) {
  try {
    probe_ = SinkHealth::Probe::none;
    if (pool_.flow.queue.closed()) return {};
    if (pool_.health.troubled()) return take_probe(batch);
    if (old_next_ && take_due(batch)) return {};
    fill(batch);
    old_next_ = !batch.empty();
    if (!batch.empty() || take_due(batch)) return {};
    return {.until = pool_.lane.next_due(), .on_events = true};
  } catch (const std::bad_alloc&) {
    return {.until = Clock::now() + kNoMemoryWait, .on_events = false};
  }
}

bool BatchSource::take_due(Batch& batch) {
  if (pool_.lane.events() == 0 || !pool_.lane.try_take(Clock::now(), batch)) return false;
  old_next_ = false;
  return true;
}

BatchSource::Wait BatchSource::take_probe(Batch& batch) {
  using Probe = SinkHealth::Probe;
  const auto now = Clock::now();
  // A failing sink is probed with the batch that waited longest, due or not. A sink that is only doubted delivers other
  // events, so batches that failed keep their due times.
  const auto by = pool_.health.failing() ? Clock::time_point::max() : now;
  const bool has_old = pool_.lane.events() > 0 && pool_.lane.next_due() <= by;
  const SinkHealth::Turn turn = pool_.health.try_probe(now, pool_.flow.queue.size_approx() > 0, has_old);
  probe_ = turn.probe;
  if (turn.probe == Probe::none) {
    const bool on_due = turn.until == Clock::time_point::max();
    return {.until = on_due ? pool_.lane.next_due() : turn.until, .on_events = turn.on_events};
  }
  try {
    if (turn.probe == Probe::fresh) {
      fill(batch);
    } else {
      static_cast<void>(pool_.lane.try_take(by, batch));
    }
  } catch (const std::bad_alloc&) {
    pool_.health.give_up_probe(now);
    throw;
  }
  if (batch.empty()) pool_.health.give_up_probe(now);  // other workers took the events first
  return {.until = now, .on_events = false};
}

// Pops no more slices than the batch takes by count and, estimated from the last batch, by bytes. Slices that do not
// fit go back to the queue, because no other worker can take what this one holds.
void BatchSource::fill(Batch& batch) {
  EventQueue& queue = pool_.flow.queue;
  const std::size_t slice_events = queue.slice_events();
  std::array<Slice, EventQueue::kMaxPop> popped;
  while (!batch.full()) {
    if (queue.closed()) return;
    const std::size_t by_bytes = (Batch::kMaxBytes - batch.bytes()) / (event_bytes_ * slice_events);
    const std::size_t want =
        std::clamp<std::size_t>(std::min(batch.capacity_left() / slice_events, by_bytes), 1, popped.size());
    const std::size_t got = queue.try_pop({popped.data(), want});
    if (got == 0) break;
    std::size_t at = 0;
    const auto put_back = [&] {
      if (at < got) queue.put_back({popped.data() + at, got - at});
    };
    try {
      while (at < got && !batch.full()) {
        batch.add(popped[at]);
        if (popped[at].count == 0) ++at;
      }
    } catch (const std::bad_alloc&) {
      put_back();
      if (batch.empty()) throw;
      break;
    }
    put_back();
  }
  if (!batch.empty()) event_bytes_ = std::max<std::size_t>(1, batch.bytes() / batch.size());
}

}  // namespace sluice
