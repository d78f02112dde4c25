// Under Ack::written: settles that wait for their sink to be synced. A settle mark may reach the disk at any moment
// after it is written; if a power cut then leaves the mark, and a sink that has lost the event, the event is lost for
// good. So the journal learns of a settle only after the sync: until then the segment keeps the event, is not removed,
// and a crash brings the event again. (The ticket is given back earlier: an event counts as delivered once its sink has
// it.) Each worker has a list of its own; any thread may read one, so each has a lock. No other lock is taken under it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

namespace sluice::backlog {

// Consecutive events of one segment that are finished.
struct Settle {
  std::uint64_t segment = 0, first = 0, count = 0;
  friend bool operator==(const Settle&, const Settle&) = default;
};

// Adds it to a list; merges it with the last entry if it continues that.
inline void add_settle(std::vector<Settle>& to, const Settle& one) {
  if (!to.empty() && to.back().segment == one.segment && to.back().first + to.back().count == one.first) {
    to.back().count += one.count;
  } else {
    to.push_back(one);
  }
}

class Withheld {
 public:
  // At this length the sink is synced before its second is over: 1.5 MiB a worker.
  static constexpr std::size_t kMost = 65536;

  explicit Withheld(std::size_t workers) : lists_(workers) {}

  // The sink of this worker has taken these events. True: the list has reached kMost.
  [[nodiscard]] bool add(std::size_t worker, const Settle& one) {
    List& list = lists_[worker];
    const std::lock_guard lock(list.mutex);
    add_settle(list.settles, one);
    return list.settles.size() >= kMost;
  }
  // Empties the list and returns it: after a sync of the sink, to be settled; after a sync that failed, to be
  // forgotten.
  [[nodiscard]] std::vector<Settle> take(std::size_t worker) {
    List& list = lists_[worker];
    const std::lock_guard lock(list.mutex);
    return std::exchange(list.settles, {});
  }

 private:
  struct List {
    std::mutex mutex;
    std::vector<Settle> settles;  // guarded by mutex
  };
  std::vector<List> lists_;  // one a worker; constant
};

}  // namespace sluice::backlog
