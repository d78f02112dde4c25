// The journal: segments on disk, and the order in which what is in them is fed to the queue. This class is the part
// without threads: one thread, the committer, changes it; another, the feeder, reads the backlog; any may reserve room.
// What it promises, crash by crash, is in format.h and beside each function here. Not durable before sync: a commit
// says whether it is.
// It refuses: a directory that another process holds, a journal of another version (StartError); once a write or a
// sync has failed every further one, until recover() has succeeded. A disk that is full, read-only, unreadable or away
// refuses no start: the journal begins as failed, what can be read is fed, and recover() does the rest.
#pragma once

#include <atomic>
#include <chrono>
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
#include <unordered_set>
#include <vector>

#include "journal/disk.h"
#include "journal/format.h"
#include "journal/pace.h"
#include "journal/record_reader.h"
#include "journal/record_source.h"
#include "journal/segment.h"
#include "sluice/options.h"

namespace sluice::journal {

struct Survey;
struct Surveyed;

class Journal {
 public:
  static constexpr std::size_t kMostLeft = 200;  // by a hundred runs
  struct Config {
    RunId run;
    std::uint64_t limit_bytes = std::uint64_t{1} << 30U;  // all files together; at least 1 MiB
    std::uint64_t spill_bytes = 0;                        // of those, kept free for spill()
    LogHook log;
    std::size_t most_left = kMostLeft;  // segments, see most_segments()
    Pace pace = {};
    std::function<std::chrono::steady_clock::time_point()> now = [] { return std::chrono::steady_clock::now(); };
    // So many events are taken over: called once, before any of them can be read; by recover(), if the disk could not
    // be read at the start.
    std::function<void(std::uint64_t events)> taken_over = {};
  };

  // Recovers what is there and begins a segment; if the disk does not let it, failed(). Throws StartError (in_use,
  // unusable). `disk` outlives it.
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
  // Appends the requests (sequences of this run, counting up) as one commit, and with `sync` waits for the disk.
  // `reserved`: what try_reserve() was told for them. On an error nobody knows what is on disk, and the
  // journal has failed.
  [[nodiscard]] std::error_code commit(std::span<const CommitRequest> requests, const Framer& frame,
                                       std::uint64_t reserved, bool sync, Place& place);
  // What was committed without it survives a power cut from here.
  [[nodiscard]] std::error_code sync();

  [[nodiscard]] bool failed() const noexcept { return failed_.load(); }
  // Tries to begin a new segment: all that `unsynced` has and nobody has finished is written there first, under its
  // own ids, since the kernel may have thrown away what the failed one had; and what a start could not do is done. On
  // success the journal has not failed.
  [[nodiscard]] std::error_code recover(UnsyncedEvents& unsynced);

  // These events are finished: known from here, on disk after write_settles(), for good after sync_settles().
  void settle(std::uint64_t segment, std::uint64_t first, std::uint64_t count);
  [[nodiscard]] bool has_unwritten_settles() const noexcept { return unwritten_settles_; }
  [[nodiscard]] std::error_code write_settles();
  [[nodiscard]] std::error_code sync_settles();
  // The same in three steps, so that no commit waits for the disk: begin writes what was settled and names the files to
  // sync; any thread syncs them, one after the other; end counts them as synced, or has them written anew. Between
  // begin and end nothing is copied forward: what is finished and not on disk for good must not be left behind.
  struct SettleSync {
    std::shared_ptr<Segment> segment;
    std::shared_ptr<DiskFile> file;
    std::error_code error;
  };
  [[nodiscard]] std::error_code begin_settle_sync(std::vector<SettleSync>& dirty);
  static void sync_settled(SettleSync& one) { one.error = sync_named(*one.file); }
  [[nodiscard]] std::error_code end_settle_sync(std::span<const SettleSync> synced);

  // Removes segments that are finished, sets aside damaged ones that are; if room is wanted, copies the few unfinished
  // events of the oldest ones forward. What fails at that is tried again more and more rarely.
  void maintain();

  // What somebody has removed while it is open has no name any more, and is gone with the process: its unfinished
  // events are written anew, under their own ids; the segment that is written to fails. An error if they cannot be:
  // then the journal has failed, and recover() tries again. Or a file could not be looked at, and nothing has failed.
  [[nodiscard]] std::error_code look_for_names();
  // The next start will not have so many of the unfinished events: their files have no name any more, or they are
  // broken on the disk and no feeder has told of it.
  [[nodiscard]] std::uint64_t nameless() const;

  // Events that have no record yet, of one run, in the order of their ids, as a segment of their own. Which one, or 0.
  [[nodiscard]] std::error_code spill(std::span<const Record> events, std::uint64_t& segment);

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
    std::vector<Record> events;  // views are valid until the next read_backlog()
    std::size_t bytes = 0;       // of their records
    std::uint64_t lost = 0;      // found out on the way: broken on disk
    std::error_code error;       // the disk would not be read; nothing was skipped
  };
  // Up to so many events from the cursor on, all of one segment; none if it has caught up. The cursor stays. `buffers`
  // gives what is read its memory.
  void read_backlog(std::size_t most_events, std::size_t most_bytes, const BufferSource& buffers, Backlog& backlog);
  // So large is the piece of memory in which the events that were read lie, and here it is, for who keeps it: what is
  // read next lies in another.
  [[nodiscard]] std::size_t backlog_memory_bytes() const noexcept { return reader_->buffer_bytes(); }
  [[nodiscard]] Buffer take_backlog_memory() noexcept { return reader_->take_buffer(); }
  // The cursor moves behind what was read.
  void fed_backlog(const Backlog& backlog);

  // Of bytes(), what belongs to no segment: reserved by those that are on their way. For who changes nothing meanwhile.
  [[nodiscard]] std::uint64_t reserved() const;
  [[nodiscard]] std::uint64_t segment_bytes() const noexcept { return segment_bytes_; }
  // Which such a journal has at a time: more than full ones, since one that is begun in a corner is small. Runs that
  // end as soon as each has taken a little leave small ones, two each: beside those, Config::most_left may be there,
  // and then nothing is taken until one is gone. A start that finds so many begins one more.
  [[nodiscard]] static std::size_t most_segments(std::uint64_t limit_bytes) noexcept;
  // What the disk would not read, so far in this run: the holes in which it lies.
  [[nodiscard]] std::uint64_t unreadable_bytes() const noexcept { return unreadable_.load(); }
  // Why it has failed: `append segment-000012: No space left on device`.
  [[nodiscard]] std::string cause() const;

 private:
  using SegmentPtr = std::shared_ptr<Segment>;  // owners: the table, the order of feeding, who reads it at the moment
  struct Redirect {
    IntervalSet events;
    std::uint64_t to = 0;
  };

  [[nodiscard]] bool has_room_for(std::uint64_t taken, std::uint64_t bytes) const noexcept;
  void charge(Segment& segment, std::uint64_t bytes) noexcept;
  void charge_physical(Segment& segment) noexcept;
  void enter(const SegmentPtr& segment);
  [[nodiscard]] std::error_code take_over();
  [[nodiscard]] std::error_code take_over_late();
  [[nodiscard]] std::uint64_t clear_away(const Survey& found);
  void report(const Surveyed& one) const;
  [[nodiscard]] SegmentPtr adopt(Surveyed& one);
  [[nodiscard]] static bool may_be_sealed(const Surveyed& one);
  void seal_earlier();
  [[nodiscard]] std::error_code seal_earlier(Segment& segment);
  void cut_failed(Segment& segment);
  [[nodiscard]] static std::error_code preallocate(DiskFile& file, std::uint64_t& size, std::uint64_t least);
  [[nodiscard]] std::error_code create(SegmentKind kind, const RunId& run, std::uint64_t ordinal,
                                       std::uint64_t first_sequence, std::uint64_t size, std::uint64_t least,
                                       std::uint64_t events, const Segment* predecessor, SegmentPtr& made);
  [[nodiscard]] std::error_code begin_segment(std::uint64_t need, std::uint64_t first_sequence,
                                              const Segment* predecessor);
  [[nodiscard]] SegmentPtr last_of_earlier_runs() const;
  [[nodiscard]] std::error_code seal(Segment& segment);
  [[nodiscard]] static std::uint64_t next_place(const Segment& segment, std::uint64_t length = UINT64_MAX) noexcept;
  [[nodiscard]] static std::error_code write_tail(Segment& segment, std::uint64_t end, std::span<const std::byte> tail);
  [[nodiscard]] static std::error_code sync_named(DiskFile& file);
  [[nodiscard]] static std::error_code look_for_name(DiskFile& file);
  [[nodiscard]] std::error_code sync_file(Segment& segment);

  static constexpr std::uint64_t kPieceBytes = std::uint64_t{4} << 20U;  // written at once, but for a larger event

  // Events of one run, one by one, and the most that will come.
  using Source = std::function<std::optional<Record>(std::error_code& error)>;
  struct Extent {
    std::uint64_t bytes = 0, events = 0;
    void add(std::uint64_t record_bytes) {
      bytes += record_bytes;
      events += 1;
    }
  };
  [[nodiscard]] static std::uint64_t least_segment(std::uint64_t need) noexcept;
  [[nodiscard]] static std::uint64_t room_of_copies(const Extent& most);
  [[nodiscard]] bool room_for_copies(std::uint64_t bytes, std::uint64_t events) const;
  [[nodiscard]] std::error_code write_closed(SegmentKind kind, const RunId& run, std::uint64_t ordinal,
                                             const Extent& most, const Source& source, SegmentPtr& made);
  [[nodiscard]] std::error_code remove_unmade();
  [[nodiscard]] static std::error_code write_own_extent(Segment& segment);
  [[nodiscard]] static std::error_code write_header_copy(DiskFile& settled, const Segment& segment);
  [[nodiscard]] std::error_code move_unsynced(UnsyncedEvents& unsynced, const SegmentPtr& old);
  [[nodiscard]] std::error_code rescue(const SegmentPtr& from);
  [[nodiscard]] std::error_code find_removed(std::vector<SegmentPtr>& removed) const;
  static void withhold_tail(Segment& segment, const IntervalSet& tail);
  [[nodiscard]] std::error_code secure_tails();
  [[nodiscard]] std::error_code copy_tail(const SegmentPtr& from);
  [[nodiscard]] std::error_code rewrite_tail(const SegmentPtr& from);
  void tail_is_gone(Segment& segment, const IntervalSet& gone);
  void take_turn(const SegmentPtr& segment);
  struct Held {
    SegmentPtr segment;
    std::uint64_t left = 0;  // events, unfinished
    IntervalSet moved;
  };
  [[nodiscard]] std::vector<Held> find_held() const;
  [[nodiscard]] std::error_code measure(std::vector<Held>& held, Extent& extent);
  [[nodiscard]] std::error_code copy_forward(bool& copied);
  void copy_of(Segment& from, const IntervalSet& events, const SegmentPtr& copies);
  [[nodiscard]] std::uint64_t home_of(std::uint64_t segment, std::uint64_t sequence) const;

  [[nodiscard]] std::error_code room_for_settles(Segment& segment, std::uint64_t events);
  [[nodiscard]] std::error_code rewrite_settled(Segment& segment);
  [[nodiscard]] std::error_code write_settles(Segment& segment);
  std::error_code fail(const std::string& what, std::error_code error);
  void fail_because(std::string cause);
  [[nodiscard]] std::vector<SegmentPtr> find_finished();
  // What could come back to life without others, looked up once for all of them.
  struct Dependants {
    std::unordered_set<std::uint64_t> unsealed;  // seeds of segments
    std::vector<const Segment*> moved_from;      // some of their events count elsewhere
  };
  [[nodiscard]] Dependants find_dependants() const;
  [[nodiscard]] static bool is_needed(const Segment& segment, const Dependants& dependants);
  bool remove_finished();
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
  const std::size_t most_segments_;
  std::uint64_t ordinal_ = 1;
  bool taken_over_ = false;  // what earlier runs left is known
  std::uint64_t replayed_ = 0;
  std::atomic<std::uint64_t> taken_{0};  // bytes of segments, the larger of charged and physical, and reservations
  std::atomic<std::size_t> count_{0};    // of segments
  std::atomic<std::uint64_t> others_{0};
  std::atomic<bool> pressed_{false};  // somebody was refused for want of room
  std::atomic<bool> failed_{false};
  std::atomic<bool> waits_for_room_{false};  // is why: the disk is well, but the limit is in the way (tails.cc)
  std::atomic<std::uint64_t> unreadable_{0};

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
  SegmentPtr active_;  // none if none could be begun since the start
  std::uint64_t next_number_ = 1;
  std::uint64_t next_sequence_ = 1;  // at least: behind all that were tried
  bool unwritten_settles_ = false;
  bool settles_dirty_ = false;
  bool settles_syncing_ = false;     // begun, and not ended
  std::vector<std::string> unmade_;  // segments that could not be made whole, and may still have their names
  std::chrono::steady_clock::time_point copy_due_{};  // not before is copied forward
  std::chrono::milliseconds copy_backoff_{0};

  // The feeder's.
  std::unique_ptr<RecordReader> reader_;
  SegmentPtr reading_;
  struct Unread {
    std::uint64_t from = 0;
    int tries = 0;
  };
  Unread unread_;  // from where it could not be read last, and so often in a row
};

}  // namespace sluice::journal
