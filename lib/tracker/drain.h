// The library's part of a stop: steps 3 to 7 of the list in daemon/stop.h. Any thread may call anything here; the first
// that calls shutdown() runs the steps, other callers wait for its report. It ends at the deadline, whatever a sink or
// a disk does, and always reports: events that were left are counted.
#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "admission/admission.h"
#include "admission/shutdown.h"
#include "queue/event_queue.h"
#include "sluice/deadline.h"
#include "sluice/options.h"
#include "sluice/report.h"
#include "tracker/account.h"
#include "tracker/disked.h"
#include "tracker/intake.h"
#include "workers/guarded_log.h"
#include "workers/pool.h"

namespace sluice {

class Drain {
 public:
  // What a stop acts on. All of it outlives the drain; disk and pool are constant once the tracker runs.
  struct Parts {
    const Options& options;
    Admission& door;
    EventQueue& queue;
    std::optional<Disked>& disked;
    std::unique_ptr<Pool>& pool;
    Intake& intake;
    Account& account;
    GuardedLog& log;
  };
  explicit Drain(const Parts& parts) : parts_(parts) {}

  // As in the tracker and in sluice/host.h.
  Report shutdown(Deadline deadline);
  void hasten(Deadline deadline);
  [[nodiscard]] std::chrono::nanoseconds least_drain() const noexcept;

  // The phase of the tracker, which its workers read as well.
  [[nodiscard]] ShutdownCoordinator& coordinator() noexcept { return stop_; }
  [[nodiscard]] const ShutdownCoordinator& coordinator() const noexcept { return stop_; }

 private:
  [[nodiscard]] Report drain();
  void close_door();
  [[nodiscard]] bool wait_drained();
  void close_queue(bool drained, Report& report);
  void checkpoint(bool drained, Report& report);
  void count(bool drained, Report& report);
  [[nodiscard]] Deadline grace(bool drained) const;
  void spill();
  void wait_synced();
  void name_who_holds_it_up();
  [[nodiscard]] Reason reason_for(bool drained, const Report& report) const;

  const Parts parts_;
  ShutdownCoordinator stop_;
};

}  // namespace sluice
