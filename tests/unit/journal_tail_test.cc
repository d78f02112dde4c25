// What a write or a sync that fails takes with it: the block that it was to replace, as a disk that writes blocks whole
// may leave it. Nothing that was acknowledged before may go with that, neither from the process that goes on nor from
// the next start. One thread; chance is by a seed.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "journal/format.h"
#include "model/journal_life.h"
#include "model/memory_disk.h"
#include "model/scenario.h"
#include "unit/journal_hand.h"

namespace format = sluice::journal;
using model::Call;
using model::MemoryDisk;

namespace {

constexpr std::uint64_t kSeeds = 60;  // a sector in a third of the blocks: enough to hit each of them often

bool is_segment(std::string_view name) {
  const auto parsed = format::parse_name(name);
  return parsed && parsed->what == format::FileName::What::segment;
}

void destroy_what_fails(MemoryDisk& disk) { disk.destroy_what_fails(is_segment); }

std::vector<std::uint64_t> sequences_of(const std::vector<JournalHand::Taken>& taken) {
  std::vector<std::uint64_t> all;
  for (const auto& event : taken) all.push_back(event.id.sequence);
  return all;
}

std::vector<std::uint64_t> up_to(std::uint64_t last) {
  std::vector<std::uint64_t> all;
  for (std::uint64_t i = 1; i <= last; ++i) all.push_back(i);
  return all;
}

// A life whose last sync fails: small commits that share a block, then one that is answered 500.
struct FailedLife {
  explicit FailedLife(std::uint64_t seed) : disk(seed) {
    destroy_what_fails(disk);
    for (std::uint64_t i = 0; i < kAcknowledged; ++i) hand.commit({{std::string(600, 'x')}});
    disk.fail({.call = Call::sync, .where = is_segment});
    hand.commit({{"answered 500"}});
    REQUIRE(hand.journal().failed());
  }
  static constexpr std::uint64_t kAcknowledged = 5;
  MemoryDisk disk;
  JournalHand hand{disk, 1};
};

// What a start finds of the runs before, without what was answered "unknown".
void check_start(MemoryDisk& disk, std::uint64_t acknowledged, std::uint64_t life = 2) {
  JournalHand next(disk, life);
  std::vector<std::uint64_t> found = sequences_of(next.take_all());
  std::ranges::sort(found);
  std::erase_if(found, [&](std::uint64_t sequence) { return sequence > acknowledged; });
  CHECK(found == up_to(acknowledged));
  CHECK(next.lost() == 0);
}

}  // namespace

TEST_SUITE("journal tail") {
  TEST_CASE("journal tail: a sync that fails takes no event with it that shared the block with an earlier commit") {
    for (const model::End end : {model::End::kill, model::End::power_cut}) {
      for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
        CAPTURE(seed);
        FailedLife life(seed);
        life.disk.end(end);
        const auto next = life.disk.reboot();
        check_start(*next, FailedLife::kAcknowledged);
      }
    }
  }

  TEST_CASE("journal tail: what a start seals is on the disk again before the copy of its last block goes") {
    for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
      CAPTURE(seed);
      FailedLife life(seed);
      life.disk.kill();  // the kernel may still show what the disk has no more
      const auto second = life.disk.reboot();
      { const JournalHand sealing(*second, 2); }
      second->cut();
      const auto third = second->reboot();
      check_start(*third, FailedLife::kAcknowledged, 3);
    }
  }

  TEST_CASE("journal tail: a segment that failed keeps the copy of its last block when it is cut") {
    for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
      CAPTURE(seed);
      FailedLife life(seed);
      REQUIRE_FALSE(sluice::backlog::recover_blocks(life.hand.journal(), {}));
      life.disk.cut();
      const auto next = life.disk.reboot();
      check_start(*next, FailedLife::kAcknowledged);
    }
  }

  TEST_CASE("journal tail: a write that fails takes no event with it that shared the block") {
    for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
      for (const std::uint64_t nth : {1U, 2U}) {  // the commit, the copy of its block
        CAPTURE(seed);
        MemoryDisk disk(seed);
        destroy_what_fails(disk);
        JournalHand hand(disk, 1);
        for (int i = 0; i < 4; ++i) hand.commit({{"small"}});
        disk.fail({.call = Call::write, .nth = nth, .where = is_segment});
        hand.commit({{"answered 500"}});
        REQUIRE(hand.journal().failed());
        disk.end(model::End::power_cut);
        const auto next = disk.reboot();
        check_start(*next, 4);
      }
    }
  }

  TEST_CASE("journal tail: the process that goes on reads what a failed sync has destroyed under it") {
    for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
      CAPTURE(seed);
      FailedLife life(seed);
      REQUIRE_FALSE(sluice::backlog::recover_blocks(life.hand.journal(), {}));
      CHECK(sequences_of(life.hand.take_all()) == up_to(FailedLife::kAcknowledged));
      CHECK(life.hand.lost() == 0);
    }
  }

  TEST_CASE("journal tail: sealing a segment that fails takes no event with it") {
    for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
      for (const std::size_t bytes : {std::size_t{5}, std::size_t{33000}}) {  // shares its block, or does not
        CAPTURE(seed);
        MemoryDisk disk(seed);
        destroy_what_fails(disk);
        JournalHand hand(disk, 1);
        for (int i = 0; i < 3; ++i) hand.commit({{std::string(i < 2 ? 5 : bytes, 'x')}});
        disk.fail({.call = Call::sync, .where = is_segment});
        REQUIRE(hand.journal().close());
        disk.end(model::End::power_cut);
        const auto next = disk.reboot();
        check_start(*next, 3);
      }
    }
  }

  TEST_CASE("journal tail: what begins in a block of its own leaves zeros, and they are no damage") {
    const std::vector<std::size_t> sizes{10, 33000, 10, 10, 5000, 10, 4096 - 200, 33000, 1900, 1900, 10};
    for (const bool closed : {false, true}) {
      MemoryDisk disk(1);
      {
        JournalHand hand(disk, 1);
        for (const std::size_t bytes : sizes) hand.commit({{std::string(bytes, 'x')}});
        CHECK(hand.take_all().size() == sizes.size());
        if (closed) REQUIRE_FALSE(hand.journal().close());
      }
      disk.kill();
      const auto next = disk.reboot();
      std::string logged;
      JournalHand hand(*next, 2, [&](sluice::LogLevel, std::string_view line) { logged += line; });
      CHECK(sequences_of(hand.take_all()) == up_to(sizes.size()));
      for (std::uint64_t i = 1; i <= sizes.size(); ++i) {
        for (std::uint64_t segment = 1; segment <= 3; ++segment) hand.journal().settle(segment, i, 1);
      }
      REQUIRE_FALSE(hand.journal().sync_settles());
      hand.journal().maintain();
      CHECK(logged.empty());
      CHECK(hand.lost() == 0);
      const auto names = next->names();
      CHECK(std::ranges::none_of(names, [](const std::string& name) { return name.ends_with(".damaged"); }));
    }
  }

  TEST_CASE("journal tail: small commits that are synced one by one cost the journal no more than their bytes") {
    MemoryDisk disk(1);
    JournalHand hand(disk, 1);
    const std::uint64_t before = hand.commit({{"small"}}).end;
    std::uint64_t end = before;
    for (int i = 0; i < 200; ++i) end = hand.commit({{"small"}}).end;
    constexpr std::uint64_t kCommit = format::aligned(format::kEventFrame + 10 + 5) + 2 * format::kCommitFrame;
    // A block that is nearly full has no room for its copy, so its last bytes stay zeros.
    CHECK(end - before <= 200 * kCommit + 200 * kCommit / format::kBlock * format::kTailFrame);
  }

  TEST_CASE("journal tail: seeds of the model that lost an acknowledged event to a failed sync, or called it damaged") {
    for (const std::uint64_t seed : {70179U, 71897U, 76767U, 77498U, 83174U, 85043U, 89245U, 702571U}) {
      const model::Judgement found = model::run_scenario(seed, model::journal_starter(), {.destruction = true});
      CAPTURE(seed);
      CHECK(found.complaints == std::vector<std::string>{});
    }
  }
}
