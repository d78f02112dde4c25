// Whether the journal works, and why not. The first write or sync that fails latches it: nothing is appended until
// recover() has succeeded. The committer's thread fails and mends it; any thread reads it.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <system_error>

#include "journal/config.h"
#include "journal/segment_table.h"

namespace sluice::journal {

class Health {
 public:
  Health(const Context& context, SegmentTable& table) : context_(context), table_(table) {}
  Health(const Health&) = delete;
  Health& operator=(const Health&) = delete;

  [[nodiscard]] bool failed() const noexcept { return failed_.load(); }
  // `append segment-000012: No space left on device`.
  [[nodiscard]] std::string cause() const;
  // The disk works, and Tails waits for room below the limit: nothing else is wrong.
  [[nodiscard]] bool waits_for_room() const noexcept { return waits_for_room_.load(); }
  void set_waits_for_room(bool waits) noexcept { waits_for_room_.store(waits); }
  // Bytes of holes that the disk would not read, so far in this run.
  [[nodiscard]] std::uint64_t unreadable_bytes() const noexcept { return unreadable_.load(); }
  void add_unreadable(std::uint64_t bytes) noexcept { unreadable_.fetch_add(bytes); }

  // Fails the journal, and returns the error. What the active segment has and did not sync is not fed from there.
  std::error_code fail(const std::string& what, std::error_code error);
  void fail_because(std::string cause);
  void mend();

 private:
  const Context& context_;
  SegmentTable& table_;
  std::atomic<bool> failed_{false};
  std::atomic<bool> waits_for_room_{false};
  std::atomic<std::uint64_t> unreadable_{0};
  mutable std::mutex mutex_;  // no other lock is held with it
  std::string cause_;         // guarded by mutex_
};

}  // namespace sluice::journal
