// Reads the events of a part of a segment, one by one, or by whole requests. One thread each; it holds the buffer of a
// RecordReader, and one request. It refuses nothing: a hole is noted, an error ends it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <system_error>
#include <vector>

#include "journal/interval_set.h"
#include "journal/record_reader.h"
#include "journal/segment.h"

namespace sluice::journal {

// The size of a record of this event.
[[nodiscard]] std::uint64_t record_bytes(const Record& event);

class EventReader {
 public:
  EventReader(const Segment& segment, std::uint64_t from, std::uint64_t to);

  // The next event for which `wants(sequence, offset)` is true; nothing: there is none, or error(). The view is valid
  // until the next call.
  template <typename Wants>
  std::optional<Record> next(const Wants& wants) {
    while (const std::optional<Record> event = next_event()) {
      if (wants(event->sequence, offset_)) return event;
    }
    return std::nullopt;
  }
  [[nodiscard]] std::error_code error() const { return error_; }
  // So far: some bytes between the events were no record.
  [[nodiscard]] bool holes() const { return holes_; }

 private:
  [[nodiscard]] std::optional<Record> next_event();

  RecordReader reader_;
  std::uint64_t offset_ = 0;  // of the last event
  std::error_code error_;
  bool holes_ = false;
};

// Reads by requests, the wanted events of each; none of a request that is not whole any more. A page may read
// differently the second time: a failed sync marks pages as clean, the kernel drops them, and the disk has older
// contents. `wanted` outlives it.
class RequestReader {
 public:
  RequestReader(const Segment& segment, std::uint64_t from, std::uint64_t to, const IntervalSet& wanted);

  [[nodiscard]] std::optional<Record> next();
  [[nodiscard]] std::error_code error() const { return error_; }

 private:
  bool read_request();
  void begin_anew(bool open);

  RecordReader reader_;
  const IntervalSet& wanted_;
  std::vector<std::vector<std::byte>> request_;  // records
  std::size_t given_ = 0;
  bool open_ = false;
  std::uint64_t end_ = 0;
  std::error_code error_;
};

}  // namespace sluice::journal
