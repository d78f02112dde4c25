// See the header.
#include "journal/budget.h"

#include <fmt/format.h>

#include <algorithm>

#include "sluice/error.h"

namespace sluice::journal {

namespace {

constexpr std::uint64_t kMostSegment = std::uint64_t{64} << 20U;
constexpr std::uint64_t kSegmentsInLimit = 8;
// What a segment costs besides its events: headers, footer, the zeros before its first commit, before its footer and
// before a commit that is being written, the first step of its settle file.
constexpr std::uint64_t kSegmentOverhead = next_block(kFirstCommit) + 2 * kBlock + kFooterSize + kSettledStep;

std::uint64_t segment_bytes_for(std::uint64_t limit_bytes) {
  return std::min(kMostSegment, limit_bytes / kSegmentsInLimit) / kBlock * kBlock;
}

}  // namespace

Budget::Budget(const Config& config)
    : segment_bytes_(segment_bytes_for(config.limit_bytes)),
      usable_bytes_(config.limit_bytes > segment_bytes_ + config.spill_bytes
                        ? config.limit_bytes - segment_bytes_ - config.spill_bytes
                        : 0),
      most_segments_(most_segments(config.limit_bytes) + config.most_left) {
  if (usable_bytes_ < 2 * segment_bytes_ || segment_bytes_ < 16 * kBlock) {
    throw StartError(StartError::Kind::unusable,
                     fmt::format("journal: {} bytes are too few; with this queue at least {} are needed",
                                 config.limit_bytes, (config.spill_bytes + (std::uint64_t{1} << 20U)) * 8 / 5));
  }
}

std::size_t Budget::most_segments(std::uint64_t limit_bytes) noexcept {
  const std::uint64_t full = limit_bytes / std::max(kBlock, segment_bytes_for(limit_bytes));
  return static_cast<std::size_t>(full + full / 4 + kSegmentsInLimit);
}

bool Budget::has_room_for(std::uint64_t taken, std::uint64_t bytes) const noexcept {
  return taken + others_.load() + bytes + kSegmentOverhead <= usable_bytes_ && count_.load() < most_segments_;
}

Budget::Room Budget::try_reserve(std::uint64_t bytes) noexcept {
  if (bytes + kSegmentOverhead > usable_bytes_) return Room::never;
  std::uint64_t now = taken_.load();
  do {
    if (!has_room_for(now, bytes)) {
      pressed_.store(true);
      return Room::full;
    }
  } while (!taken_.compare_exchange_weak(now, now + bytes));
  return Room::reserved;
}

bool Budget::has_room(std::uint64_t bytes) const noexcept { return has_room_for(taken_.load(), bytes); }

void Budget::charge(Segment& segment, std::uint64_t bytes) noexcept {
  taken_.fetch_add(bytes - segment.charged);  // wraps where it becomes less
  segment.charged = bytes;
}

void Budget::charge_new(Segment& segment) noexcept { charge(segment, kSegmentOverhead); }

void Budget::charge_physical(Segment& segment) noexcept {
  charge(segment, std::max(segment.charged, segment.disk_bytes()));
}

void Budget::charge_commit(Segment& segment, std::uint64_t reserved, std::uint64_t padding) noexcept {
  segment.charged += reserved + padding;
  taken_.fetch_add(padding);
}

}  // namespace sluice::journal
