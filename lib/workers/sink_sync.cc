// See the header.
#include "workers/sink_sync.h"

#include <algorithm>
#include <new>
#include <string>

#include "workers/sink_call.h"

namespace sluice {

SinkSync::Clock::time_point SinkSync::due() const {
  if (unsynced_since_ == Clock::time_point::max()) return Clock::time_point::max();
  Clock::duration every = std::min<Clock::duration>(
      pool_.flow.sync_every, std::max<Clock::duration>(pool_.flow.sync_soonest, 50 * last_duration_));
  if (pool_.stopping.load()) every = std::min(every, (pool_.flow.stop.deadline() - Clock::now()) / 10);
  return unsynced_since_ + every;
}

bool SinkSync::sync_now(Sink& sink) {
  if (unsynced_since_ == Clock::time_point::max()) return true;
  const auto began = Clock::now();
  stats_.state_begins(began);
  bool goes_on = claim_.state() != WorkerState::kept;  // false: the last sync, past the deadline
  if (goes_on) {
    claim_.take();
    goes_on = claim_.enter_sink();
  }
  stats_.sync_begins(began);
  bool durable = true;
  std::string reason;
  try {
    sink.sync();
  } catch (...) {
    durable = false;
    reason = reason_of_exception();
  }
  const auto ended = Clock::now();
  stats_.sync_ends(ended);
  unsynced_since_ = Clock::time_point::max();
  last_duration_ = ended - began;
  std::uint64_t events = 0;
  try {
    events = pool_.flow.sink_synced(stats_.index(), durable);
  } catch (const std::bad_alloc&) {
    events = 0;  // they come again in the next run
  }
  if (!durable) pool_.log.sync_failed(stats_.name(), events, reason);
  if (!goes_on || !claim_.answer()) return false;
  stats_.state_begins(ended);
  claim_.rest();
  return true;
}

}  // namespace sluice
