// See the header.
#include "journal/compaction.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <unordered_set>

#include "journal/event_reader.h"

namespace sluice::journal {

namespace {

bool is_unfinished(const Segment& segment, std::uint64_t sequence) {
  return !segment.feed.finished.contains(sequence) && !segment.feed.absent.contains(sequence);
}

}  // namespace

void Compaction::run() {
  const bool pressed = budget_.take_pressed();
  for (int rounds = 2; rounds > 0; --rounds) {
    const bool any = remover_.remove_finished();
    if (!pressed || health_.failed() || any) return;
    // A refused producer does not ask again before there is room, so the request for room is kept.
    if (settles_.syncing() || context_.config.now() < copy_due_) return budget_.press();
    bool copied = false;
    const std::error_code error = copy_forward(copied);
    if (error) {
      context_.log(LogLevel::warn, fmt::format("unfinished events could not be copied forward: {}", error.message()));
      const Pace& pace = context_.config.pace;
      copy_backoff_ = std::clamp(2 * copy_backoff_, pace.least_backoff, pace.most_backoff);
      copy_due_ = context_.config.now() + copy_backoff_;
      return budget_.press();
    }
    if (!copied) return;
    copy_backoff_ = {};
  }
}

// The oldest segments that few events keep. They are neighbours: if two were copied around a third, the younger one's
// events would come before the third one's at the next start.
std::vector<Compaction::Held> Compaction::find_held() const {
  std::vector<Held> held;
  const std::lock_guard lock(table_.mutex());
  const std::unordered_set<const Segment*> unfed = cursor_.unfed();
  const std::vector<SegmentPtr> all = table_.in_order();
  std::uint64_t bytes = 0;
  for (const SegmentPtr& segment : all) {
    const std::uint64_t events = segment->feed.events;
    const std::uint64_t left = segment->feed.unfinished();
    const std::uint64_t content = segment->content();
    const std::uint64_t estimate = events == 0 ? 0 : content / events * left;
    const bool eligible = segment != table_.active() && !segment->feed.damaged && !unfed.contains(segment.get()) &&
                          left > 0 && (segment->not_worth == 0 || left < segment->not_worth) &&
                          estimate <= content / 4 && bytes + estimate <= budget_.segment_bytes() / 2;
    const bool neighbour = held.empty() || segment->header.run == held.front().segment->header.run;
    if (eligible && neighbour) {
      bytes += estimate;
      held.push_back({segment, left, {}});
    } else if (!held.empty()) {
      break;
    }
  }
  return held;
}

// How much it is, and whether all of it is intact, has to be known before the first byte is written. An unfit segment
// is dropped, with all behind it; an error if none is left.
std::error_code Compaction::measure(std::vector<Held>& held, Extent& extent) {
  std::error_code error;
  for (std::size_t at = 0; at < held.size(); ++at) {
    Segment& segment = *held[at].segment;
    Extent of_it;
    EventReader reading(segment, kFirstCommit, segment.written.acknowledged_end);
    while (const auto event =
               reading.next([&](std::uint64_t sequence, std::uint64_t) { return is_unfinished(segment, sequence); })) {
      of_it.add(record_bytes(*event));
    }
    error = reading.error();
    if (!error && reading.holes()) {
      error = std::make_error_code(std::errc::io_error);
      const std::lock_guard lock(table_.mutex());
      segment.feed.damaged = true;
    }
    const Extent all{extent.bytes + of_it.bytes, extent.events + of_it.events};
    const bool fits = of_it.bytes <= segment.content() / 2 && (at == 0 || all.bytes <= budget_.segment_bytes() / 2) &&
                      rewriter_.has_room(all);
    if (!error && !fits) error = std::make_error_code(std::errc::file_too_large);
    if (error) {
      if (at == 0) segment.not_worth = held[at].left;  // others are tried first
      held.resize(at);
      break;
    }
    extent = all;
  }
  return held.empty() ? error : std::error_code();
}

// No error and nothing copied: there was nothing to copy.
std::error_code Compaction::copy_forward(bool& copied) {
  std::vector<Held> held = find_held();
  if (held.empty()) return {};
  // Finished events are left behind. If their settles were not on disk, they would come once more at the next start,
  // out of order.
  if (const auto error = settles_.sync()) return error;
  Extent extent;
  if (const auto error = measure(held, extent)) return error;
  std::size_t at = 0;
  std::optional<EventReader> reading;
  const auto unfinished = [&](std::uint64_t sequence, std::uint64_t) {
    return is_unfinished(*held[at].segment, sequence);
  };
  const Rewriter::Source source = [&](std::error_code& error) -> std::optional<Record> {
    for (; at < held.size(); ++at, reading.reset()) {
      const Segment& segment = *held[at].segment;
      if (!reading) reading.emplace(segment, kFirstCommit, segment.written.acknowledged_end);
      const auto event = reading->next(unfinished);
      error = reading->error();
      if (!error && reading->holes()) error = std::make_error_code(std::errc::io_error);
      if (error) return std::nullopt;
      if (!event) continue;
      held[at].moved.add(event->sequence, 1);
      return event;
    }
    return std::nullopt;
  };
  const Header& oldest = held.front().segment->header;
  SegmentPtr copies;
  if (const auto error = rewriter_.write(SegmentKind::copies, oldest.run, oldest.ordinal, extent, source, copies)) {
    return error;
  }
  if (!copies) return {};
  context_.disk.pass(Instant::after_copy);
  copies->is_home = false;
  const std::lock_guard lock(table_.mutex());
  for (const Held& one : held) {
    if (!one.moved.empty()) table_.move(*one.segment, one.moved, copies);
  }
  copied = true;
  return {};
}

}  // namespace sluice::journal
