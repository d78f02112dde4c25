// A sector that the disk cannot read any more, in each of a journal's files: intact events around it are delivered, the
// events in it are counted as lost, and delivery goes on. Over the disk in memory.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "journal/format.h"
#include "model/memory_disk.h"
#include "unit/journal_hand.h"

namespace {

namespace format = sluice::journal;
using model::MemoryDisk;
using Sequences = std::vector<std::uint64_t>;

constexpr std::uint64_t kBlock = 4096;

struct Record {
  std::string segment;
  std::uint64_t begin = 0, end = 0;

  [[nodiscard]] bool meets(const std::string& name, std::uint64_t at) const {
    return segment == name && begin < at + kBlock && end > at;
  }
};

// So many events of a kilobyte, each a commit of its own, over some segments; closed, or the process is gone.
struct Left {
  std::unique_ptr<MemoryDisk> disk;
  std::vector<Record> records;  // of event 1 and on

  Left(std::size_t events, bool closed, std::uint64_t limit = JournalHand::kLimit) {
    MemoryDisk first(1);
    JournalHand hand(first, 1, {}, limit);
    for (std::size_t i = 1; i <= events; ++i) {
      const auto place = hand.commit({{std::string(1000, 'x')}});
      records.push_back(
          {format::segment_name(place.segment), place.begin + format::kCommitFrame, place.end - format::kCommitFrame});
    }
    if (closed) REQUIRE_FALSE(hand.journal().close());
    first.kill();
    disk = first.reboot();
  }
  // The events outside this block.
  [[nodiscard]] Sequences intact(const std::string& segment, std::uint64_t at) const {
    Sequences some;
    for (std::size_t i = 0; i < records.size(); ++i) {
      if (!records[i].meets(segment, at)) some.push_back(i + 1);
    }
    return some;
  }
};

struct Found {
  Sequences sequences;
  std::uint64_t lost = 0, errors = 0;
};

// What the feeder brings, and how often it has to ask; all of it is finished.
Found take_all(JournalHand& hand) {
  constexpr std::uint64_t kPatience = 20;
  Found found;
  sluice::journal::Journal& journal = hand.journal();
  sluice::journal::Journal::Backlog backlog;
  while (found.errors < kPatience) {
    backlog.lost = 0;
    journal.read_backlog(100, std::size_t{1} << 16U, sluice::backlog::buffers_of(hand.memory()), backlog);
    found.lost += backlog.lost;
    if (backlog.error) {
      ++found.errors;
      continue;
    }
    if (backlog.events.empty()) break;
    for (const auto& event : backlog.events) {
      found.sequences.push_back(event.sequence);
      journal.settle(backlog.segment, event.sequence, 1);
    }
    journal.fed_backlog(backlog);
  }
  REQUIRE_FALSE(journal.sync_settles());
  journal.maintain();
  return found;
}

bool is_there(const MemoryDisk& disk, const std::string& name) { return disk.bytes_if_there(name).has_value(); }

}  // namespace

TEST_CASE("journal unreadable: a sector of a segment that was not sealed costs its events, and the start nothing") {
  for (const std::uint64_t at : {format::kFirstCommit, format::kFirstCommit + 2 * kBlock}) {
    INFO("at ", at);
    Left left(20, false);
    left.disk->make_unreadable("segment-000001", at, at + kBlock);
    JournalHand hand(*left.disk, 2);
    REQUIRE_FALSE(hand.journal().failed());
    const Sequences intact = left.intact("segment-000001", at);
    const std::uint64_t lost = 20 - intact.size();
    CHECK(lost >= 4);
    CHECK(hand.journal().replayed() == 20);
    const Found found = take_all(hand);
    CHECK(found.sequences == intact);
    CHECK(found.lost == lost);
    CHECK(found.errors == 0);
    CHECK(hand.journal().unreadable_bytes() >= kBlock);
    CHECK(is_there(*left.disk, "segment-000001.damaged"));
  }
}

TEST_CASE("journal unreadable: the last commit's sector is lost, not torn") {
  Left left(20, false);
  const std::uint64_t at = left.records.back().begin / kBlock * kBlock;
  left.disk->make_unreadable("segment-000001", at, at + kBlock);
  JournalHand hand(*left.disk, 2);
  const Found found = take_all(hand);
  CHECK(found.sequences == left.intact("segment-000001", at));
  CHECK(found.lost >= 1);
  CHECK(is_there(*left.disk, "segment-000001.damaged"));
}

TEST_CASE("journal unreadable: a sector behind all that was written costs nothing") {
  Left left(4, false);
  const std::uint64_t at = left.records.back().end / kBlock * kBlock + 2 * kBlock;
  left.disk->make_unreadable("segment-000001", at, at + kBlock);
  JournalHand hand(*left.disk, 2);
  const Found found = take_all(hand);
  CHECK(found.sequences == Sequences{1, 2, 3, 4});
  CHECK(found.lost == 0);
}

TEST_CASE("journal unreadable: a sector of a large event does not hold the feeder, which reads its commit each time") {
  constexpr std::uint64_t kLarge = 8 * JournalHand::kLimit;
  MemoryDisk first(1);
  {
    JournalHand hand(first, 1, {}, kLarge);
    hand.commit({{std::string(60000, 'x')}});
    hand.commit({{"behind"}});
    REQUIRE_FALSE(hand.journal().close());
    first.kill();
  }
  const auto disk = first.reboot();
  disk->make_unreadable("segment-000001", format::kFirstCommit + 12 * kBlock, format::kFirstCommit + 13 * kBlock);
  JournalHand hand(*disk, 2, {}, kLarge);
  const Found found = take_all(hand);
  CHECK(found.sequences == Sequences{2});
  CHECK(found.lost == 1);
}

TEST_CASE("journal unreadable: a sector of what has to make room is no reason to wait for room") {
  constexpr std::uint64_t kLarge = 8 * JournalHand::kLimit;
  MemoryDisk first(1);
  std::uint64_t at = 0;
  std::string name;
  {
    JournalHand hand(first, 1, {}, kLarge);
    for (int i = 0; i < 3; ++i) {
      const auto place = hand.commit({{std::string(std::size_t{512} << 10U, 'x')}});
      name = format::segment_name(place.segment);
      at = place.begin + 40 * kBlock;
    }
    hand.commit({{std::string(std::size_t{1536} << 10U, 'x')}});  // more than what is kept free for copies
    first.kill();
  }
  const auto disk = first.reboot();
  disk->make_unreadable(name, at, at + kBlock);
  JournalHand hand(*disk, 2, {}, kLarge);
  REQUIRE(hand.journal().failed());
  const Found others = take_all(hand);
  CHECK(others.sequences == Sequences{1, 2});
  CHECK(others.lost == 1);
  REQUIRE_FALSE(sluice::backlog::recover_blocks(hand.journal(), {}));
  CHECK(take_all(hand).sequences == Sequences{4});
}

TEST_CASE("journal unreadable: a half-made segment is set aside where a sector of it may have been anything") {
  for (const std::uint64_t at : {std::uint64_t{0}, kBlock, format::kFirstCommit, 5 * kBlock}) {
    INFO("at ", at);
    MemoryDisk disk(1);
    disk.replace("segment-000001", std::string(at == 0 ? 1000 : 65536, '\0'));
    disk.make_unreadable("segment-000001", at, at + 100);
    JournalHand hand(disk, 1);
    CHECK_FALSE(hand.journal().failed());
    CHECK(take_all(hand).lost == 1);
    CHECK(is_there(disk, "segment-000001.damaged"));
  }
}

TEST_CASE("journal unreadable: a sector of a sealed segment does not hold the feeder, which asks for it a few times") {
  Left left(100, true);
  REQUIRE(left.records.back().segment != "segment-000001");
  const std::uint64_t at = format::kFirstCommit + 5 * kBlock;
  left.disk->make_unreadable("segment-000001", at, at + kBlock);
  JournalHand hand(*left.disk, 2);
  const Sequences intact = left.intact("segment-000001", at);
  const Found found = take_all(hand);
  CHECK(found.sequences == intact);
  CHECK(found.lost == 100 - intact.size());
  CHECK(found.errors >= 2);
  CHECK(found.errors <= 3);  // what stands before it comes meanwhile
  CHECK(is_there(*left.disk, "segment-000001.damaged"));
}

TEST_CASE("journal unreadable: while the whole disk is away nothing is lost, however often the feeder asks") {
  Left left(100, true);
  JournalHand hand(*left.disk, 2);
  left.disk->make_unreadable("segment-000001", 0, UINT64_MAX);
  sluice::journal::Journal::Backlog backlog;
  for (int i = 0; i < 10; ++i) {
    hand.journal().read_backlog(100, std::size_t{1} << 16U, sluice::backlog::buffers_of(hand.memory()), backlog);
    CHECK(backlog.error);
    CHECK(backlog.lost == 0);
  }
  left.disk->heal();
  const Found found = take_all(hand);
  CHECK(found.sequences.size() == 100);
  CHECK(found.lost == 0);
}

TEST_CASE("journal unreadable: where the disk goes away in the midst of a segment, what is still to come is not lost") {
  constexpr std::uint64_t kLarge = std::uint64_t{8} << 20U;  // segments of a MiB, which are read in several pieces
  Left left(900, true, kLarge);
  REQUIRE(left.records[850].segment == "segment-000001");
  JournalHand hand(*left.disk, 2, {}, kLarge);
  sluice::journal::Journal::Backlog backlog;
  Sequences sequences;
  const auto take = [&] {
    hand.journal().read_backlog(100, std::size_t{1} << 16U, sluice::backlog::buffers_of(hand.memory()), backlog);
    CHECK(backlog.lost == 0);
    if (backlog.error) return;
    for (const auto& event : backlog.events) sequences.push_back(event.sequence);
    hand.journal().fed_backlog(backlog);
  };
  for (int i = 0; i < 3; ++i) take();
  REQUIRE_FALSE(sequences.empty());
  left.disk->make_unreadable("segment-000001", 0, UINT64_MAX);
  for (int i = 0; i < 20; ++i) take();
  CHECK(backlog.error);
  left.disk->heal();
  for (int i = 0; i < 100 && sequences.size() < 900; ++i) take();
  REQUIRE(sequences.size() == 900);
  for (std::size_t i = 0; i < sequences.size(); ++i) CHECK(sequences[i] == i + 1);
  CHECK(hand.journal().unreadable_bytes() == 0);
}

TEST_CASE("journal unreadable: a hole larger than what is read at a time does not hold what stands behind it") {
  constexpr std::uint64_t kLarge = std::uint64_t{8} << 20U;
  Left left(900, true, kLarge);
  REQUIRE(left.records[850].segment == "segment-000001");
  const std::uint64_t at = format::kFirstCommit + 20 * kBlock;
  const std::uint64_t size = 100 * kBlock;
  left.disk->make_unreadable("segment-000001", at, at + size);
  Sequences intact;
  for (std::size_t i = 0; i < left.records.size(); ++i) {
    const Record& record = left.records[i];
    if (record.segment != "segment-000001" || record.end <= at || record.begin >= at + size) intact.push_back(i + 1);
  }
  JournalHand hand(*left.disk, 2, {}, kLarge);
  const Found found = take_all(hand);
  CHECK(found.sequences == intact);
  CHECK(found.lost == 900 - intact.size());
}

TEST_CASE("journal unreadable: a settled file costs a redelivery, and the start nothing; then it is written anew") {
  Left left(20, false);
  {
    JournalHand hand(*left.disk, 2);
    hand.journal().settle(1, 1, 10);
    REQUIRE_FALSE(hand.journal().sync_settles());
  }
  left.disk->kill();
  left.disk = left.disk->reboot();
  left.disk->make_unreadable("segment-000001.settled", 0, UINT64_MAX);
  {
    JournalHand hand(*left.disk, 3);
    REQUIRE_FALSE(hand.journal().failed());
    CHECK(hand.journal().replayed() == 20);
    hand.journal().settle(1, 3, 5);
    const std::uint64_t renamed = left.disk->calls(model::Call::rename);
    REQUIRE_FALSE(hand.journal().sync_settles());
    CHECK(left.disk->calls(model::Call::rename) == renamed + 1);  // nothing is written to what cannot be read
  }
  left.disk->kill();
  left.disk = left.disk->reboot();
  CHECK(JournalHand(*left.disk, 4).journal().replayed() == 15);
}

TEST_CASE("journal unreadable: a header's sector costs no event") {
  for (const std::uint64_t size : {kBlock, 2 * kBlock}) {
    Left left(20, false);
    left.disk->make_unreadable("segment-000001", 0, size);
    JournalHand hand(*left.disk, 2);
    const Found found = take_all(hand);
    CHECK(found.sequences.size() == 20);
    CHECK(found.lost == 0);
    CHECK(is_there(*left.disk, "segment-000001.damaged"));
  }
}
