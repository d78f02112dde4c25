// Under Ack::written: the settles that wait for their sink. An event counts as delivered once its sink has it, and its
// ticket goes back; but a settle mark may reach the disk at any moment after it is written, whoever asks for it or not,
// and one that a power cut leaves behind, beside a sink that has lost the event, has lost it for good. So nothing here
// is known to the journal before the sink was synced: until then the segment holds the event, is not removed, and a
// crash brings the event again.
// Each worker has a list of its own; any thread may look at one, so each has a lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

namespace sluice::backlog {

// So many events, one behind the other, that are finished: where they stand.
struct Settle {
  std::uint64_t segment = 0, first = 0, count = 0;
  friend bool operator==(const Settle&, const Settle&) = default;
};

// Adds it to a list, to the last of it if it follows on that.
inline void add_settle(std::vector<Settle>& to, const Settle& one) {
  if (!to.empty() && to.back().segment == one.segment && to.back().first + to.back().count == one.first) {
    to.back().count += one.count;
  } else {
    to.push_back(one);
  }
}

class Withheld {
 public:
  // At this length a list wants its sink to be synced before the second is over: 1.5 MiB a worker.
  static constexpr std::size_t kMost = 65536;

  explicit Withheld(std::size_t workers) : lists_(workers) {}

  // Handed to this worker's sink, which has taken it. True: the list has kMost by now.
  [[nodiscard]] bool add(std::size_t worker, const Settle& one) {
    List& list = lists_[worker];
    const std::lock_guard lock(list.mutex);
    add_settle(list.settles, one);
    return list.settles.size() >= kMost;
  }
  // All that this worker has added, and its list is empty: the sink was synced, so they are to be settled; or that has
  // failed, and they are to be forgotten.
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
