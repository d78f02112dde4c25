// Large parts of a journal's files gone: zeroed, cut off, or both headers with what lies behind them. Each test is what
// was removed without a word, or lost though it was intact. Over the disk in memory.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "journal/format.h"
#include "model/memory_disk.h"
#include "unit/journal_hand.h"

namespace {

namespace format = sluice::journal;
using model::MemoryDisk;

constexpr std::size_t kEvents = 20;
constexpr std::uint64_t kSegment = std::uint64_t{64} << 10U;

std::string payload(std::size_t number) { return "event " + std::to_string(number) + std::string(number, '.'); }

// So many events, each a request and a commit of its own, in segments of this run; then the process is gone.
struct Journal {
  MemoryDisk disk{1};
  std::vector<std::uint64_t> ends;  // behind each commit
  std::string last;                 // the segment

  explicit Journal(std::size_t events = kEvents, std::size_t padding = 0) {
    JournalHand hand(disk, 1);
    for (std::size_t i = 1; i <= events; ++i) {
      const auto place = hand.commit({{payload(i) + std::string(padding, 'p')}});
      ends.push_back(place.end);
      last = format::segment_name(place.segment);
    }
  }

  void zero(const std::string& name, std::uint64_t from, std::uint64_t to) {
    std::string bytes = disk.bytes(name);
    std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(from), bytes.begin() + static_cast<std::ptrdiff_t>(to), '\0');
    // A copy of the tail would bring it back: it is gone as well, as if an older build had written none.
    if (bytes.size() % format::kBlock == 0) std::fill(bytes.end() - format::kTailRoom, bytes.end(), '\0');
    disk.replace(name, bytes);
  }
  void cut(const std::string& name, std::uint64_t size) { disk.replace(name, disk.bytes(name).substr(0, size)); }
};

struct Found {
  std::vector<std::uint64_t> sequences;
  std::uint64_t lost = 0, replayed = 0;
  bool set_aside = false;  // something, at the latest when all is finished
};

// A start, and all that it brings is finished; the next one finds nothing.
Found start_over(MemoryDisk& disk) {
  Found found;
  {
    JournalHand hand(disk, 2);
    found.replayed = hand.journal().replayed();
    for (const auto& event : hand.take_all()) {
      found.sequences.push_back(event.id.sequence);
      CHECK(event.payload.starts_with(payload(event.id.sequence)));
      CHECK(event.id.run == JournalHand::run_of(1));
      hand.journal().settle(event.segment, event.id.sequence, 1);
    }
    found.lost = hand.lost();
    REQUIRE_FALSE(hand.journal().sync_settles());
    hand.journal().maintain();
    REQUIRE_FALSE(hand.journal().close());
  }
  found.set_aside = std::ranges::any_of(disk.names(), [](const auto& name) { return name.ends_with(".damaged"); });
  CHECK(JournalHand(disk, 3).journal().replayed() == 0);
  return found;
}

std::vector<std::uint64_t> from_to(std::uint64_t first, std::uint64_t last) {
  std::vector<std::uint64_t> all;
  for (; first <= last; ++first) all.push_back(first);
  return all;
}

void check_all(const Found& found, std::uint64_t first, std::uint64_t last, std::uint64_t lost) {
  CHECK(found.sequences == from_to(first, last));
  CHECK(found.lost == lost);
  CHECK(found.replayed == found.sequences.size() + lost);
  CHECK(found.set_aside);
}

}  // namespace

TEST_CASE("journal ruin: a last segment whose headers are zeros brings every event that it holds") {
  Journal journal;
  journal.zero(journal.last, 0, format::kFirstCommit);
  check_all(start_over(journal.disk), 1, kEvents, 0);
}

TEST_CASE(
    "journal ruin: a last segment that begins with zeros brings what is intact behind them, and counts the rest") {
  {
    Journal journal;
    journal.zero(journal.last, 0, format::kFirstCommit + 64);
    check_all(start_over(journal.disk), 2, kEvents, 1);
  }
  Journal journal;
  journal.zero(journal.last, 0, journal.ends[9] - 8);
  check_all(start_over(journal.disk), 11, kEvents, 10);
}

TEST_CASE("journal ruin: of a request that begins in the zeros the events behind them are intact, and come") {
  MemoryDisk disk(1);
  std::vector<std::string> request;
  for (std::size_t i = 1; i <= 5; ++i) request.push_back(payload(i));
  { JournalHand(disk, 1).commit({request}); }
  std::string bytes = disk.bytes("segment-000001");
  bytes.replace(bytes.size() - format::kTailRoom, format::kTailRoom, format::kTailRoom, '\0');  // no copy of its tail
  disk.replace("segment-000001", bytes.replace(0, format::kFirstCommit + 64, format::kFirstCommit + 64, '\0'));
  check_all(start_over(disk), 2, 5, 1);
}

TEST_CASE("journal ruin: a last segment that is nothing but zeros is lost, not one that was never used") {
  Journal journal;
  journal.zero(journal.last, 0, kSegment);
  check_all(start_over(journal.disk), 1, 0, 1);
}

TEST_CASE("journal ruin: a last segment that was cut off brings what is left, and says that something is not") {
  const Journal whole;
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{100}, format::kSecondHeader, format::kFirstCommit}) {
    INFO("size ", size);
    Journal journal;
    journal.cut(journal.last, size);
    check_all(start_over(journal.disk), 1, 0, 1);
  }
  for (const std::size_t left : {std::size_t{1}, std::size_t{7}, kEvents - 1}) {
    for (const std::uint64_t more : {0U, 20U, 60U}) {  // of the commit behind
      INFO("left ", left, " and ", more, " bytes");
      Journal journal;
      journal.cut(journal.last, journal.ends[left - 1] + more);
      check_all(start_over(journal.disk), 1, left, 1);
    }
  }
}

TEST_CASE("journal ruin: a last segment that lost its empty end alone has lost nothing") {
  Journal journal;
  journal.cut(journal.last, journal.ends.back() + 3000);
  const Found found = start_over(journal.disk);
  CHECK(found.sequences == from_to(1, kEvents));
  CHECK(found.lost == 0);
  CHECK_FALSE(found.set_aside);
}

TEST_CASE("journal ruin: where the copy of the header is gone as well its successor knows how to read it") {
  Journal journal(kEvents, 4000);
  REQUIRE(journal.last == "segment-000002");
  journal.zero("segment-000001", 0, format::kFirstCommit);
  REQUIRE_FALSE(journal.disk.unlink("segment-000001.settled"));
  check_all(start_over(journal.disk), 1, kEvents, 0);
}

TEST_CASE("journal ruin: where nothing says how to read it, it is set aside and stands for one event at least") {
  Journal journal;
  journal.zero(journal.last, 0, format::kFirstCommit + 64);
  REQUIRE_FALSE(journal.disk.unlink(journal.last + ".settled"));
  check_all(start_over(journal.disk), 1, 0, 1);
}

TEST_CASE("journal ruin: copies whose headers are zeros bring what they hold") {
  Journal journal;
  { const JournalHand start(journal.disk, 2); }  // copies what was not known to be synced: the last
  const auto names = journal.disk.names();
  REQUIRE(std::ranges::find(names, "segment-000002") != names.end());
  journal.zero("segment-000002", 0, format::kFirstCommit);
  check_all(start_over(journal.disk), 1, kEvents, 0);
}

TEST_CASE("journal ruin: what a start left of a segment that it could not make is removed, and no loss") {
  for (std::uint64_t call = 1; call < 40; ++call) {
    for (const auto moment : {model::Moment::before, model::Moment::during, model::Moment::after}) {
      for (const auto end : {model::End::kill, model::End::power_cut}) {
        INFO("call ", call);
        MemoryDisk disk(call);
        disk.end_at_call(end, call, moment);
        { JournalHand hand(disk, 1); }
        if (!disk.ended()) disk.end(end);
        const auto next = disk.reboot();
        JournalHand hand(*next, 2);
        CHECK(hand.journal().replayed() == 0);
        CHECK(hand.take_all().empty());
        CHECK(hand.lost() == 0);
        const auto names = next->names();
        CHECK(std::ranges::none_of(names, [](const auto& name) { return name.ends_with(".damaged"); }));
      }
    }
  }
}
