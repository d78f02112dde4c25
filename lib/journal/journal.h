// The journal: acknowledged events on disk, in segments, and the order in which they are fed to the queue. It is
// composed of parts: each is the one owner of its state, and its header names the thread that uses it. The journal has
// no thread: the committer's changes it, the feeder's reads from it, any thread may reserve room. A commit without sync
// is not durable. Locks: SegmentTable::mutex() and Health's; neither is held while the other is taken, nor during disk
// I/O.
//
// It refuses a directory that another process holds and a journal of another version (StartError); and, after a failed
// write or sync, every further one until recover() has succeeded. A disk that is full, read-only, unreadable or away
// does not prevent a start: the journal begins as failed, whatever can be read is fed, and recover() does the rest.
#pragma once

#include <span>
#include <string>
#include <system_error>
#include <vector>

#include "journal/backlog_reader.h"
#include "journal/compaction.h"
#include "journal/record_source.h"
#include "journal/recovery.h"
#include "journal/rescue.h"
#include "journal/segment_writer.h"

namespace sluice::journal {

class Journal {
 public:
  using Config = journal::Config;
  using Room = Budget::Room;
  using Place = journal::Place;
  using Backlog = journal::Backlog;
  using SettleSync = journal::SettleSync;
  static constexpr std::size_t kMostLeft = Config::kMostLeft;

  // Recovers the directory's contents and begins a segment; if the disk does not allow it, failed(). Throws StartError
  // (in_use, unusable). `disk` outlives it.
  Journal(Disk& disk, Config config);
  ~Journal();  // closes files; close() ends a run
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // ---- any thread
  // Events that were taken over from earlier runs, broken ones included: they count as accepted.
  [[nodiscard]] std::uint64_t replayed() const noexcept { return recovery_.replayed(); }
  [[nodiscard]] Room try_reserve(std::uint64_t bytes) noexcept { return budget_.try_reserve(bytes); }
  [[nodiscard]] bool has_room(std::uint64_t bytes) const noexcept { return budget_.has_room(bytes); }
  void give_back(std::uint64_t bytes) noexcept { budget_.give_back(bytes); }
  void charge_others(std::uint64_t bytes) noexcept { budget_.charge_others(bytes); }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return budget_.bytes(); }
  [[nodiscard]] std::uint64_t segment_bytes() const noexcept { return budget_.segment_bytes(); }
  [[nodiscard]] static std::uint64_t cost(std::size_t body_bytes, std::size_t events) noexcept;
  [[nodiscard]] static std::size_t most_segments(std::uint64_t limit_bytes) noexcept;
  // The part of bytes() that belongs to no segment. Exact only while nothing changes.
  [[nodiscard]] std::uint64_t reserved() const;
  [[nodiscard]] bool failed() const noexcept { return health_.failed(); }
  [[nodiscard]] std::string cause() const { return health_.cause(); }
  [[nodiscard]] std::uint64_t unreadable_bytes() const noexcept { return health_.unreadable_bytes(); }

  // ---- the committer's thread
  // Appends the requests (sequences of this run, counting up) as one commit, and with `sync` waits for the disk.
  // `reserved`: what try_reserve() was told for them. On an error nobody knows what is on disk: the journal has failed.
  [[nodiscard]] std::error_code commit(std::span<const CommitRequest> requests, const Framer& frame,
                                       std::uint64_t reserved, bool sync, Place& place);
  // Commits without sync survive a power cut from here.
  [[nodiscard]] std::error_code sync() { return writer_.sync(); }
  // Tries to begin a new segment, and to complete what a start could not do. Before that, the unfinished events of
  // `unsynced` are written anew, under their own ids: the kernel may have dropped the pages of the failed segment.
  [[nodiscard]] std::error_code recover(UnsyncedEvents& unsynced) { return rescue_.recover(unsynced); }
  // See Settles.
  void settle(std::uint64_t segment, std::uint64_t first, std::uint64_t count);
  [[nodiscard]] bool has_unwritten_settles() const noexcept { return settles_.has_unwritten(); }
  [[nodiscard]] std::error_code write_settles() { return settles_.write(); }
  [[nodiscard]] std::error_code sync_settles() { return settles_.sync(); }
  [[nodiscard]] std::error_code begin_settle_sync(std::vector<SettleSync>& dirty);
  static void sync_settled(SettleSync& one) { Settles::sync_file(one); }
  [[nodiscard]] std::error_code end_settle_sync(std::span<const SettleSync> synced);

  // Removes finished segments; if room is wanted, copies the few unfinished events of the oldest ones forward.
  void maintain() { compaction_.run(); }
  // An unlinked file is gone with the process: its unfinished events are written anew, under their own ids. The journal
  // fails if they cannot be, or if it is the active segment's. An error without a failure: a file could not be checked.
  [[nodiscard]] std::error_code look_for_names() { return rescue_.look_for_names(); }
  // Unfinished events that the next start will not have: their files have no name, or they are broken and not reported.
  [[nodiscard]] std::uint64_t nameless() const { return rescue_.nameless(); }
  // Writes events of this run that have no record yet, in the order of their ids, as a segment of their own; 0: none.
  [[nodiscard]] std::error_code spill(std::span<const Record> events, std::uint64_t& segment);
  // The end of a run: settles are written and synced, the segment is sealed, finished segments are removed.
  [[nodiscard]] std::error_code close();

  // ---- under the feeder's lock; see Cursor
  [[nodiscard]] bool caught_up() { return cursor_.caught_up(); }
  [[nodiscard]] bool cursor_at(std::uint64_t segment, std::uint64_t offset) { return cursor_.is_at(segment, offset); }
  void fed_from_memory(std::uint64_t offset, std::uint64_t events, std::uint64_t last_sequence);
  void show(const Place& place) { cursor_.show(place); }
  void fed_backlog(const Backlog& backlog) { reader_.fed(backlog); }
  // ---- the feeder's thread; see BacklogReader
  void read_backlog(std::size_t most_events, std::size_t most_bytes, const BufferSource& buffers, Backlog& backlog);
  [[nodiscard]] std::size_t backlog_memory_bytes() const noexcept { return reader_.buffer_bytes(); }
  [[nodiscard]] Buffer take_backlog_memory() noexcept { return reader_.take_buffer(); }

 private:
  // Each refers to those before it.
  const Context context_;
  Budget budget_;
  SegmentTable table_;
  Health health_;
  Cursor cursor_;
  SegmentMaker maker_;
  Rewriter rewriter_;
  Settles settles_;
  SegmentWriter writer_;
  Remover remover_;
  Compaction compaction_;
  Tails tails_;
  Recovery recovery_;
  Rescue rescue_;
  BacklogReader reader_;
};

}  // namespace sluice::journal
