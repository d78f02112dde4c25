// The sink of the model: a file on the same disk as the journal, so the same cut goes through both. A line an event,
// `RUN-SEQ HASH CHECK`, appended and synced before it says `delivered`; or, under `written`, synced when it is asked to
// be, and never by itself. A torn end is cut off at the start. What counts as delivered is what this file holds in the
// end. Any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/life.h"
#include "model/memory_disk.h"

namespace model {

class SinkFile {
 public:
  static constexpr std::string_view kName = "sink";
  using Lines = std::vector<std::pair<sluice::EventId, std::uint64_t>>;  // ids, and hashes of payloads

  // Once, before there is a journal: later the sink must never sync the directory, since this would do the journal's
  // work.
  static void create(MemoryDisk& disk);

  enum class Syncs : std::uint8_t { by_itself, when_asked };
  // Throws std::system_error if the file cannot be read or cut.
  SinkFile(MemoryDisk& disk, Syncs how);

  // True: it has them, durable if it syncs by itself. False: some may be there, and they are to be sent again.
  [[nodiscard]] bool append(std::span<const Handed> events);
  // Of those who ask, each for what it had appended since it asked last. False: some of that is gone, and all of it has
  // to come again.
  [[nodiscard]] bool sync(std::span<const sluice::EventId> appended);
  // Such a sync has failed that was for this one.
  [[nodiscard]] bool is_undone(const sluice::EventId& id) const;

  // The whole lines of these bytes, and how many bytes those are.
  [[nodiscard]] static std::pair<Lines, std::size_t> parse(std::string_view bytes);

 private:
  struct IdOrder {
    bool operator()(const sluice::EventId& a, const sluice::EventId& b) const noexcept {
      return a.run == b.run ? a.sequence < b.sequence : a.run.bytes < b.run.bytes;
    }
  };
  [[nodiscard]] bool sync_file();

  const Syncs how_;
  mutable std::mutex mutex_;
  // All guarded by mutex_.
  std::unique_ptr<sluice::DiskFile> file_;
  std::uint64_t good_ = 0;    // behind it nothing counts
  std::uint64_t synced_ = 0;  // before it all is durable
  bool torn_ = false;
  std::vector<sluice::EventId> unsynced_;    // between the two
  std::set<sluice::EventId, IdOrder> gone_;  // were, when a sync failed
  std::set<sluice::EventId, IdOrder> undone_;
};

}  // namespace model
