// A Journal driven by hand, one step at a time, as the committer and the feeder would: so that a test knows where each
// record was written. One thread; what goes wrong fails the test.
#pragma once

#include <doctest/doctest.h>

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "admission/admission.h"
#include "backlog/block_records.h"
#include "journal/journal.h"
#include "queue/block.h"

class JournalHand {
 public:
  static constexpr std::string_view kType = "text/plain";
  static constexpr std::uint64_t kLimit = std::uint64_t{512} << 10U;  // the least: segments of 64 KiB

  // Each life has a run of its own.
  JournalHand(sluice::Disk& disk, std::uint64_t life, sluice::LogHook log = {}, std::uint64_t limit = kLimit)
      : run_(run_of(life)),
        journal_(disk, {.run = run_, .limit_bytes = limit, .spill_bytes = 0, .log = std::move(log)}) {}

  [[nodiscard]] sluice::journal::Journal& journal() { return journal_; }
  // For what it reads, which may be kept until the journal is gone.
  [[nodiscard]] sluice::BlockMemory& memory() { return memory_; }
  [[nodiscard]] std::uint64_t next_sequence() const { return sequence_; }
  [[nodiscard]] const sluice::RunId& run() const { return run_; }
  [[nodiscard]] static sluice::RunId run_of(std::uint64_t life) {
    sluice::RunId run{{0x5A}};
    run.bytes[15] = static_cast<std::uint8_t>(life);
    return run;
  }

  // The payloads of some requests, as one commit, synced. Where it was written; if it failed, its end is not known.
  sluice::journal::Journal::Place commit(const std::vector<std::vector<std::string>>& requests) {
    std::vector<sluice::Block::Owner> blocks;
    std::vector<sluice::Block*> raw;
    std::uint64_t cost = 0;
    for (const auto& request : requests) {
      std::vector<sluice::Event> events;
      for (const std::string& payload : request) events.push_back({std::as_bytes(std::span(payload)), kType});
      const sluice::Block::Layout layout{.frame = sluice::journal::kEventFrame};
      auto ticket = door_.try_admit(events.size(), sluice::Block::bytes_for(events, layout));
      blocks.push_back(sluice::Block::make(memory_, events, std::get<sluice::Ticket>(std::move(ticket)), layout));
      blocks.back()->number(run_, sequence_);
      sequence_ += events.size();
      cost += sluice::journal::Journal::cost(blocks.back()->body().size(), events.size());
      raw.push_back(blocks.back().get());
    }
    REQUIRE(journal_.try_reserve(cost) == sluice::journal::Journal::Room::reserved);
    sluice::journal::Journal::Place place;
    if (sluice::backlog::commit_blocks(journal_, raw, cost, true, place)) {
      journal_.give_back(cost);
    } else {
      journal_.show(place);  // backlog, all of it
    }
    return place;
  }

  // Ids of this run, and payloads, as a segment of their own.
  std::uint64_t spill(std::span<const std::pair<std::uint64_t, std::string>> events) {
    std::vector<sluice::journal::Record> loose;
    for (const auto& [sequence, payload] : events) {
      loose.push_back({sequence, std::chrono::system_clock::now(), kType, std::as_bytes(std::span(payload))});
    }
    std::uint64_t segment = 0;
    REQUIRE_FALSE(journal_.spill(loose, segment));
    return segment;
  }

  struct Taken {
    std::uint64_t segment = 0;
    sluice::EventId id;
    std::string type, payload;
  };
  // The whole backlog, a few events at a time.
  std::vector<Taken> take_all() {
    std::vector<Taken> taken;
    sluice::journal::Journal::Backlog backlog;
    for (;;) {
      journal_.read_backlog(3, std::size_t{1} << 16U, sluice::backlog::buffers_of(memory_), backlog);
      REQUIRE_FALSE(backlog.error);
      lost_ += std::exchange(backlog.lost, 0);
      if (backlog.events.empty()) return taken;
      for (const sluice::journal::Record& event : backlog.events) {
        taken.push_back({backlog.segment,
                         {backlog.run, event.sequence},
                         std::string(event.content_type),
                         {reinterpret_cast<const char*>(event.payload.data()), event.payload.size()}});
      }
      journal_.fed_backlog(backlog);
    }
  }
  // Found out on the way.
  [[nodiscard]] std::uint64_t lost() const { return lost_; }

 private:
  const sluice::RunId run_;
  sluice::Admission door_{std::size_t{1} << 20U, std::size_t{1} << 30U};
  sluice::BlockMemory memory_{std::size_t{1} << 20U};
  sluice::journal::Journal journal_;
  std::uint64_t sequence_ = 1;
  std::uint64_t lost_ = 0;
};
