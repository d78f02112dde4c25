// See the header: the beginning and the end of a run, and the spill; everything else is in the parts.
#include "journal/journal.h"

#include <fmt/format.h>

#include <mutex>
#include <optional>
#include <utility>

#include "journal/event_reader.h"
#include "sluice/error.h"

namespace sluice::journal {

Journal::Journal(Disk& disk, Config config)
    : context_{disk, std::move(config)},
      budget_(context_.config),
      table_(budget_),
      health_(context_, table_),
      cursor_(context_.config.run, table_),
      maker_(context_, budget_),
      rewriter_(context_, budget_, table_, maker_),
      settles_(context_, table_, rewriter_),
      writer_(context_, budget_, table_, cursor_, health_, maker_),
      remover_(context_, budget_, table_, cursor_, rewriter_),
      compaction_(context_, budget_, table_, cursor_, health_, rewriter_, settles_, remover_),
      tails_(context_, budget_, table_, cursor_, health_, rewriter_, remover_),
      recovery_(context_, budget_, table_, cursor_, health_, maker_, settles_, tails_),
      rescue_(context_, table_, cursor_, health_, rewriter_, settles_, writer_, tails_, recovery_),
      reader_(context_, table_, cursor_, health_) {
  std::error_code error;
  try {
    error = recovery_.take_over();
  } catch (const StartError& refused) {
    if (refused.kind() != StartError::Kind::io) throw;
    health_.fail_because(refused.what());
    return;
  }
  if (!error) error = writer_.begin(table_.last_of_earlier_runs().get());
  if (error && !failed()) health_.fail("begin " + segment_name(maker_.last_number()), error);
  maintain();
  if (budget_.has_all_segments()) {  // else nobody could tell from bytes() why nothing is accepted
    context_.log(LogLevel::warn, fmt::format("the journal has as many segments as it may have, nothing is taken until "
                                             "some are delivered segments={}",
                                             budget_.segments()));
  }
}

Journal::~Journal() = default;

// ---- what a part does

std::uint64_t Journal::cost(std::size_t body_bytes, std::size_t events) noexcept {
  return Budget::cost(body_bytes, events);
}

std::size_t Journal::most_segments(std::uint64_t limit_bytes) noexcept { return Budget::most_segments(limit_bytes); }

std::error_code Journal::commit(std::span<const CommitRequest> requests, const Framer& frame, std::uint64_t reserved,
                                bool sync, Place& place) {
  return writer_.commit(requests, frame, reserved, sync, place);
}

void Journal::settle(std::uint64_t segment, std::uint64_t first, std::uint64_t count) {
  settles_.settle(segment, first, count);
}

std::error_code Journal::begin_settle_sync(std::vector<SettleSync>& dirty) { return settles_.begin_sync(dirty); }

std::error_code Journal::end_settle_sync(std::span<const SettleSync> synced) { return settles_.end_sync(synced); }

void Journal::fed_from_memory(std::uint64_t offset, std::uint64_t events, std::uint64_t last_sequence) {
  cursor_.fed_from_memory(offset, events, last_sequence);
}

void Journal::read_backlog(std::size_t most_events, std::size_t most_bytes, const BufferSource& buffers,
                           Backlog& backlog) {
  reader_.read(most_events, most_bytes, buffers, backlog);
}

// ---- what needs several of them

std::uint64_t Journal::reserved() const {
  const std::lock_guard lock(table_.mutex());
  std::uint64_t bytes = budget_.taken();
  for (const auto& [number, segment] : table_.all()) bytes -= segment->charged;
  return bytes;
}

std::error_code Journal::spill(std::span<const Record> events, std::uint64_t& number) {
  number = 0;
  if (!cursor_.begun()) return std::make_error_code(std::errc::io_error);  // earlier segments are not known yet
  if (const auto error = context_.disk.hold()) return error;  // without a commit nobody has noticed its removal
  Extent most;
  for (const Record& event : events) most.add(record_bytes(event));
  SegmentPtr segment;
  const Rewriter::Source source = [&, next = events.begin()](std::error_code&) mutable {
    return next == events.end() ? std::nullopt : std::optional(*next++);
  };
  if (const auto error =
          rewriter_.write(SegmentKind::taken, context_.config.run, table_.ordinal(), most, source, segment)) {
    return error;
  }
  if (!segment) return {};
  number = segment->number;
  const std::lock_guard lock(table_.mutex());
  table_.enter(segment);  // not in the order of feeding: its events are in memory
  return {};
}

std::error_code Journal::close() {
  std::error_code first = sync_settles();
  if (const auto error = look_for_names(); error && !first) first = error;
  if (failed()) return first ? first : std::make_error_code(std::errc::io_error);
  bool finished = false;
  if (const auto error = writer_.seal_active(finished); error && !first) first = error;
  if (first) return first;
  writer_.leave_active(finished);
  maintain();
  return first;
}

}  // namespace sluice::journal
