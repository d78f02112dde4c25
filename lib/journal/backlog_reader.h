// Reads events back from the disk, from the cursor on, for the feeder. The feeder's thread alone. It reports a hole,
// skips it, and reads around a place that the disk will not read, once a few tries have failed.
#pragma once

#include <cstdint>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "journal/config.h"
#include "journal/cursor.h"
#include "journal/health.h"
#include "journal/record_reader.h"
#include "journal/record_source.h"

namespace sluice::journal {

// What one read has brought.
struct Backlog {
  RunId run;
  std::uint64_t segment = 0;
  std::vector<Record> events;  // views are valid until the next read
  std::size_t bytes = 0;       // of their records
  std::uint64_t lost = 0;      // found broken on disk
  std::error_code error;       // of the disk; nothing was skipped
};

class BacklogReader {
 public:
  BacklogReader(const Context& context, SegmentTable& table, Cursor& cursor, Health& health)
      : context_(context), table_(table), cursor_(cursor), health_(health) {}
  BacklogReader(const BacklogReader&) = delete;
  BacklogReader& operator=(const BacklogReader&) = delete;

  // Up to so many events from the cursor on, all of one segment; none if nothing is left to feed. The cursor stays.
  void read(std::size_t most_events, std::size_t most_bytes, const BufferSource& buffers, Backlog& backlog);
  // The cursor moves behind what was read.
  void fed(const Backlog& backlog) {
    if (!backlog.events.empty()) cursor_.fed(backlog.run, backlog.segment, backlog.events, reader_->at());
  }
  // The buffer that holds the events of the last read, for a caller that keeps it; and its size.
  [[nodiscard]] std::size_t buffer_bytes() const noexcept { return reader_->buffer_bytes(); }
  [[nodiscard]] Buffer take_buffer() noexcept { return reader_->take_buffer(); }

 private:
  // The sequences that are to be fed, looked up by stretches, not one by one.
  struct Wanted {
    std::uint64_t from = 0, to = 0;
  };

  void open(const Cursor::Stretch& stretch, const BufferSource& buffers);
  void read_stretch(const Cursor::Stretch& stretch, std::size_t most_events, std::size_t most_bytes, Backlog& backlog);
  void report_hole(const RecordReader::Item& hole);
  [[nodiscard]] bool is_wanted(std::uint64_t sequence, Wanted& wanted);

  const Context& context_;
  SegmentTable& table_;
  Cursor& cursor_;
  Health& health_;

  std::unique_ptr<RecordReader> reader_;
  SegmentPtr reading_;
  struct Unread {
    std::uint64_t from = 0;
    int tries = 0;
  };
  Unread unread_;  // where the last failed read began, and how many failed there in a row
};

}  // namespace sluice::journal
