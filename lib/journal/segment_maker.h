// Makes the two files of a new segment and gives it the next number. The committer's thread, or the thread that starts.
// On an error nothing is left of the segment, as far as the disk allows.
#pragma once

#include <cstdint>
#include <system_error>

#include "journal/budget.h"
#include "journal/config.h"
#include "journal/segment.h"

namespace sluice::journal {

class SegmentMaker {
 public:
  SegmentMaker(const Context& context, Budget& budget) : context_(context), budget_(budget) {}
  SegmentMaker(const SegmentMaker&) = delete;
  SegmentMaker& operator=(const SegmentMaker&) = delete;

  struct Plan {
    SegmentKind kind = SegmentKind::taken;
    RunId run;
    std::uint64_t ordinal = 0;
    std::uint64_t first_sequence = 0;
    std::uint64_t size = 0;    // of the file
    std::uint64_t least = 0;   // so much of `size` will do if the disk has no room for all of it
    std::uint64_t events = 0;  // that its settle file has room for
    const Segment* predecessor = nullptr;
  };
  // A segment that is not in the table yet. Copies have a draft's name; their settle file has no header copy yet.
  [[nodiscard]] std::error_code make(const Plan& plan, SegmentPtr& made);

  // The size of a segment with room for a commit of `need` bytes.
  [[nodiscard]] static std::uint64_t least_segment(std::uint64_t need) noexcept;

  // Numbers of earlier segments are not given again.
  void come_after(std::uint64_t number) noexcept;
  [[nodiscard]] std::uint64_t last_number() const noexcept { return next_number_ - 1; }

 private:
  [[nodiscard]] static std::error_code preallocate(DiskFile& file, std::uint64_t& size, std::uint64_t least);
  [[nodiscard]] std::error_code make_files(const Plan& plan, Segment& segment, const std::string& name);

  const Context& context_;
  Budget& budget_;
  std::uint64_t next_number_ = 1;
};

}  // namespace sluice::journal
