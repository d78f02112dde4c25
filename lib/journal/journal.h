// The journal: segments on disk, and the order in which what is in them is fed to the queue. This class is the part
// without threads: one thread, the committer, changes it; another, the feeder, reads the backlog; any may reserve room.
// What it promises, crash by crash, is in format.h and beside each function here. Not durable before sync: a commit
// says whether it is.
// It refuses: a directory that another process holds, a journal of a newer version (StartError); once a write or a
// sync has failed every further one, until recover() has succeeded.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "journal/disk.h"
#include "journal/format.h"
#include "journal/record_reader.h"
#include "journal/segment.h"
#include "queue/block.h"
#include "sluice/options.h"

namespace sluice::journal {

struct Survey;
struct Surveyed;

class Journal {
 public:
  struct Config {
    RunId run;
    std::uint64_t limit_bytes = std::uint64_t{1} << 30U;  // all files together; at least 1 MiB
    std::uint64_t spill_bytes = 0;                        // of those, kept free for spill()
    LogHook log;
  };

  // Recovers what is there and begins a segment. Throws StartError. `disk` outlives it.
  Journal(Disk& disk, Config config);
  ~Journal();  // closes files; close() is what ends a run well
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // Events that recovery took over: they count as accepted, and come by read_backlog(); broken ones count as well.
  [[nodiscard]] std::uint64_t replayed() const noexcept { return replayed_; }

  // ---- the door's, any thread: room is reserved before an event is accepted, for its record and for its settling
  enum class Room : std::uint8_t { reserved, full, never };
  [[nodiscard]] Room try_reserve(std::uint64_t bytes) noexcept;
  // Whether it would be reserved at this moment.
  [[nodiscard]] bool has_room(std::uint64_t bytes) const noexcept;
  void give_back(std::uint64_t bytes) noexcept { taken_.fetch_sub(bytes); }
  [[nodiscard]] static std::uint64_t cost(std::size_t body_bytes, std::size_t events) noexcept {
    return body_bytes + events * kSettleBytes + 2 * kCommitFrame;
  }
  // Bytes that count against new events though they are no segment's: the dead letters'.
  void charge_others(std::uint64_t bytes) noexcept { others_.store(bytes); }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return taken_.load() + others_.load(); }

  // ---- the committer's
  struct Place {
    std::uint64_t segment = 0;
    std::uint64_t begin = 0, end = 0;  // of the commit
    std::vector<std::uint64_t> ends;   // behind each request
  };
  // Appends the blocks, which are framed and numbered (one run, counting up), as one commit, and with `sync` waits for
  // the disk. `reserved`: what try_reserve() was told for them. On an error nobody knows what is on disk, and the
  // journal has failed.
  [[nodiscard]] std::error_code commit(std::span<Block* const> blocks, std::uint64_t reserved, bool sync, Place& place);
  // What was committed without it survives a power cut from here.
  [[nodiscard]] std::error_code sync();

  [[nodiscard]] bool failed() const noexcept { return failed_.load(); }
  // Tries to begin a new segment: all that `unsynced` hold and nobody has finished is written there first, under its
  // own ids, since the kernel may have thrown away what the failed one had. On success the journal has not failed.
  [[nodiscard]] std::error_code recover(std::span<Block* const> unsynced);

  // These events are finished: known from here, on disk after write_settles(), for good after sync_settles().
  void settle(std::uint64_t segment, std::uint64_t first, std::uint64_t count);
  [[nodiscard]] bool has_unwritten_settles() const noexcept { return unwritten_settles_; }
  [[nodiscard]] std::error_code write_settles();
  [[nodiscard]] std::error_code sync_settles();

  // Removes segments that are finished, sets aside damaged ones that are; if room is wanted, copies the few unfinished
  // events of the oldest ones forward.
  void maintain();

  // Events that have no record yet, of one run, in the order of their ids, as a segment of their own. Which one, or 0.
  struct Loose {
    std::uint64_t sequence = 0;
    std::chrono::system_clock::time_point received;
    std::string_view content_type;
    std::span<const std::byte> payload;
  };
  [[nodiscard]] std::error_code spill(std::span<const Loose> events, std::uint64_t& segment);

  // The end of a run: settles are written and synced, the segment is sealed, what is finished is removed.
  [[nodiscard]] std::error_code close();

  // ---- the feed's, under its lock but for read_backlog(), which is the feeder's alone
  // Nothing that is committed is unfed.
  [[nodiscard]] bool caught_up();
  // The cursor stands exactly here, so what follows may be fed from memory.
  [[nodiscard]] bool cursor_at(std::uint64_t segment, std::uint64_t offset);
  void fed_from_memory(std::uint64_t offset, std::uint64_t events, std::uint64_t last_sequence);
  // What was committed there may be read as backlog, behind what was fed from memory: not before that is decided, or
  // who reads the disk at this moment would bring it a second time.
  void show(const Place& place);

  struct Backlog {
    RunId run;
    std::uint64_t segment = 0;
    std::vector<EventView> events;  // views are valid until the next read_backlog()
    std::size_t bytes = 0;          // of their records
    std::uint64_t lost = 0;         // found out on the way: broken on disk
    std::error_code error;          // the disk would not be read; nothing was skipped
  };
  // Up to so many events from the cursor on, all of one segment; none if it has caught up. The cursor stays. `memory`
  // outlives the journal.
  void read_backlog(std::size_t most_events, std::size_t most_bytes, BlockMemory& memory, Backlog& backlog);
  // So large is the piece of memory in which the events that were read lie, and here it is, for who keeps it: what is
  // read next lies in another.
  [[nodiscard]] std::size_t backlog_memory_bytes() const noexcept { return reader_->buffer_bytes(); }
  [[nodiscard]] BlockMemory::Lent take_backlog_memory() noexcept { return reader_->take_buffer(); }
  // The cursor moves behind what was read.
  void fed_backlog(const Backlog& backlog);

  // Of bytes(), what belongs to no segment: reserved by those that are on their way. For who changes nothing meanwhile.
  [[nodiscard]] std::uint64_t reserved() const;
  [[nodiscard]] std::uint64_t segment_bytes() const noexcept { return segment_bytes_; }
  // Which such a journal has at a time: more than full ones, since one that is begun in a corner is small.
  [[nodiscard]] static std::size_t most_segments(std::uint64_t limit_bytes) noexcept;
  // Why it has failed: `append segment-000012: No space left on device`.
  [[nodiscard]] std::string cause() const;

 private:
  using SegmentPtr = std::shared_ptr<Segment>;  // owners: the table, the order of feeding, who reads it at the moment
  struct Redirect {
    IntervalSet events;
    std::uint64_t to = 0;
  };

  void take_over();
  void clear_away(const Survey& found);
  void report(const Surveyed& one) const;
  [[nodiscard]] SegmentPtr adopt(Surveyed& one);
  [[nodiscard]] std::error_code create(SegmentKind kind, const RunId& run, std::uint64_t ordinal,
                                       std::uint64_t first_sequence, std::uint64_t size, std::uint64_t events,
                                       const Segment* predecessor, SegmentPtr& made);
  [[nodiscard]] std::error_code begin_segment(std::uint64_t need, std::uint64_t first_sequence,
                                              const Segment* predecessor);
  [[nodiscard]] std::error_code seal(Segment& segment);
  [[nodiscard]] static std::error_code sync_named(DiskFile& file);
  [[nodiscard]] static std::error_code look_for_name(DiskFile& file);
  [[nodiscard]] std::error_code sync_file(Segment& segment);

  // Events of one run, one by one, and the most that will come.
  using Source = std::function<std::optional<Loose>(std::error_code& error)>;
  struct Extent {
    std::uint64_t bytes = 0, events = 0;
    void add(std::uint64_t record_bytes) {
      bytes += record_bytes;
      events += 1;
    }
  };
  [[nodiscard]] std::error_code write_closed(SegmentKind kind, const RunId& run, std::uint64_t ordinal,
                                             const Extent& most, const Source& source, SegmentPtr& made);
  [[nodiscard]] std::error_code remove_unmade();
  [[nodiscard]] static std::error_code write_own_extent(Segment& segment);
  [[nodiscard]] std::error_code move_unsynced(std::span<Block* const> unsynced, const SegmentPtr& old);
  [[nodiscard]] std::error_code rescue(const SegmentPtr& from);
  void rewrite_tail(const SegmentPtr& from, const IntervalSet& tail);
  [[nodiscard]] bool copy_forward();
  void copy_of(Segment& from, const IntervalSet& events, const SegmentPtr& copies);
  [[nodiscard]] std::uint64_t home_of(std::uint64_t segment, std::uint64_t sequence) const;

  [[nodiscard]] std::error_code room_for_settles(Segment& segment, std::uint64_t events);
  [[nodiscard]] std::error_code rewrite_settled(Segment& segment);
  [[nodiscard]] std::error_code write_settles(Segment& segment);
  std::error_code fail(std::string what, std::error_code error);
  [[nodiscard]] std::vector<SegmentPtr> find_finished();
  [[nodiscard]] bool is_needed(const Segment& segment) const;
  [[nodiscard]] bool remove(const std::vector<SegmentPtr>& finished);
  [[nodiscard]] bool is_finished(const Segment& segment) const;
  void normalize_cursor();
  [[nodiscard]] std::uint64_t physical_bytes() const;
  void log(LogLevel level, std::string_view line) const {
    if (config_.log) config_.log(level, line);
  }

  Disk& disk_;
  const Config config_;
  const std::uint64_t segment_bytes_;
  const std::uint64_t usable_bytes_;
  std::uint64_t ordinal_ = 1;
  std::uint64_t replayed_ = 0;
  std::atomic<std::uint64_t> taken_{0};  // bytes of segments and reservations
  std::atomic<std::uint64_t> others_{0};
  std::atomic<bool> pressed_{false};  // somebody was refused for want of room
  std::atomic<bool> failed_{false};

  mutable std::mutex mutex_;
  std::map<std::uint64_t, SegmentPtr> segments_;  // by number; guarded by mutex_, changed by the committer
  std::deque<SegmentPtr> order_;                  // of feeding, from the cursor on; guarded by mutex_
  std::uint64_t cursor_ = kFirstCommit;           // in its first; guarded by mutex_
  std::uint64_t fed_sequence_ = 0;                // of this run, all up to here were fed; guarded by mutex_
  std::string cause_;                             // guarded by mutex_
  std::uint64_t late_lost_ = 0;                   // guarded by mutex_; found, and not told yet
  // Events that have moved, by their old segment; changed by the committer under mutex_, read by the feeder under it.
  std::map<std::uint64_t, std::vector<Redirect>> redirects_;

  // The committer's.
  SegmentPtr active_;
  std::uint64_t next_number_ = 1;
  std::uint64_t next_sequence_ = 1;  // at least: behind all that were tried
  bool unwritten_settles_ = false;
  bool settles_dirty_ = false;
  std::vector<std::string> unmade_;  // segments that could not be made whole, and may still have their names

  // The feeder's.
  std::unique_ptr<RecordReader> reader_;
  SegmentPtr reading_;
};

}  // namespace sluice::journal
