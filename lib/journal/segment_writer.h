// Appends commits to the active segment, and begins the next one when it is full. The committer's thread alone, or the
// thread that starts. On an error nobody knows what is on disk: the journal has failed (Health), and nothing is
// appended before recover() has begun a new segment.
#pragma once

#include <cstdint>
#include <span>
#include <system_error>
#include <vector>

#include "journal/config.h"
#include "journal/cursor.h"
#include "journal/health.h"
#include "journal/record_source.h"
#include "journal/segment_maker.h"

namespace sluice::journal {

class SegmentWriter {
 public:
  SegmentWriter(const Context& context, Budget& budget, SegmentTable& table, Cursor& cursor, Health& health,
                SegmentMaker& maker)
      : context_(context), budget_(budget), table_(table), cursor_(cursor), health_(health), maker_(maker) {}
  SegmentWriter(const SegmentWriter&) = delete;
  SegmentWriter& operator=(const SegmentWriter&) = delete;

  // See Journal::commit() and Journal::sync().
  [[nodiscard]] std::error_code commit(std::span<const CommitRequest> requests, const Framer& frame,
                                       std::uint64_t reserved, bool sync, Place& place);
  [[nodiscard]] std::error_code sync();

  // A new active segment behind `predecessor`, which may be null. The caller fails the journal on an error.
  [[nodiscard]] std::error_code begin(const Segment* predecessor);
  // Cuts the room off a segment that failed; only once its successor's header says where it ends.
  void cut_failed(Segment& segment);

  // The end of a run, in two steps: the active segment is sealed, or, if all of it is finished, checked for its name
  // alone; then, if nothing has failed, it is active no more.
  [[nodiscard]] std::error_code seal_active(bool& finished);
  void leave_active(bool finished);

 private:
  [[nodiscard]] std::error_code begin(std::uint64_t need, std::uint64_t first_sequence, const Segment* predecessor);
  [[nodiscard]] std::error_code make_room(std::uint64_t length, std::uint64_t alone, std::uint64_t first);
  [[nodiscard]] std::error_code write(Segment& segment, std::uint64_t begin, std::uint64_t end,
                                      std::span<const std::span<const std::byte>> pieces,
                                      std::span<const std::byte> tail);
  [[nodiscard]] static std::error_code write_tail(Segment& segment, std::uint64_t end, std::span<const std::byte> tail);
  [[nodiscard]] std::error_code seal(Segment& segment);
  [[nodiscard]] std::error_code sync_file(Segment& segment);

  const Context& context_;
  Budget& budget_;
  SegmentTable& table_;
  Cursor& cursor_;
  Health& health_;
  SegmentMaker& maker_;
  std::uint64_t next_sequence_ = 1;  // greater than every sequence that was tried
};

}  // namespace sluice::journal
