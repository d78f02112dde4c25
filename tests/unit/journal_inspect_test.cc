// The look into a journal from outside, at segments written here by hand: what counts, what is broken, in which order.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "journal/format.h"
#include "sluice/error.h"
#include "sluice/journal.h"
#include "support/temp_dir.h"

namespace {

namespace format = sluice::journal;
using sluice::JournalSegment;
using sluice::JournalView;

const sluice::RunId kRun{{1, 2, 3}};
const sluice::RunId kLaterRun{{4, 5, 6}};

template <class Bytes>
std::string text_of(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// A segment as the journal would have written it.
class Writer {
 public:
  explicit Writer(std::uint64_t number, format::Header header = {}) : number_(number), header_(header) {
    header_.seed = number * 77;
    if (header_.run == sluice::RunId()) header_.run = kRun;
    const std::string head = text_of(format::encode(header_));
    file_ = head + std::string(format::kSecondHeader - head.size(), '\0') + head;
    file_.resize(format::kFirstCommit);
  }

  // A commit of one request.
  Writer& commit(std::uint64_t first, const std::vector<std::string>& payloads, std::uint64_t synced = 0) {
    const std::uint64_t begin = file_.size();
    file_ += std::string(format::kCommitFrame, '\0');
    for (std::size_t i = 0; i < payloads.size(); ++i) {
      event(first + i, payloads[i], i == 0, i + 1 == payloads.size());
    }
    const std::uint64_t end = file_.size();
    const format::CommitFrame frame{.first_sequence = first,
                                    .events = static_cast<std::uint32_t>(payloads.size()),
                                    .requests = 1,
                                    .length = end + format::kCommitFrame - begin,
                                    .synced = synced != 0 ? synced : begin};
    file_.replace(begin, format::kCommitFrame,
                  text_of(format::encode(format::RecordKind::begin, frame, header_.seed, begin)));
    file_ += text_of(format::encode(format::RecordKind::end, frame, header_.seed, end));
    footer_.events += payloads.size();
    ++footer_.commits;
    if (footer_.first_sequence == 0) footer_.first_sequence = first;
    footer_.last_sequence = first + payloads.size() - 1;
    return *this;
  }
  Writer& settle(std::uint64_t first, std::uint64_t count) {
    const format::Range range{first, count};
    settled_ += format::encode({&range, 1}, format::settled_seed(header_.seed), settled_.size());
    return *this;
  }
  Writer& seal() {
    footer_.offset = file_.size();
    file_ += text_of(format::encode(footer_, header_.seed));
    return *this;
  }
  Writer& spoil(std::uint64_t offset) {
    file_[offset] = static_cast<char>(file_[offset] ^ 0x55);
    return *this;
  }
  [[nodiscard]] std::uint64_t size() const { return file_.size(); }
  // Of a payload's text.
  [[nodiscard]] std::uint64_t find(const std::string& text) const { return file_.find(text); }

  void save(const test::TempDir& state, const std::string& name = {}) {
    const auto directory = state.path() / "journal";
    std::filesystem::create_directories(directory);
    std::ofstream(directory / (name.empty() ? format::segment_name(number_) : name), std::ios::binary) << file_;
    if (!settled_.empty()) std::ofstream(directory / format::settled_name(number_), std::ios::binary) << settled_;
  }

 private:
  void event(std::uint64_t sequence, const std::string& payload, bool begins, bool ends) {
    const std::string type = "text/plain";
    std::string record(format::kEventFrame, '\0');
    record += type + payload;
    record.resize(format::aligned(record.size()));
    format::frame_event(reinterpret_cast<std::byte*>(record.data()), type.size(), payload.size(),
                        {.sequence = sequence, .received = {}, .begins_request = begins, .ends_request = ends},
                        header_.seed, file_.size());
    file_ += record;
  }

  std::uint64_t number_;
  format::Header header_;
  std::string file_, settled_;
  format::Footer footer_;
};

std::vector<std::string> unfinished(const JournalView& view) {
  std::vector<std::string> found;
  CHECK_FALSE(view.for_each_unfinished([&](const sluice::Delivery& event) {
    CHECK(event.content_type == "text/plain");
    found.push_back(std::to_string(event.id.run.bytes[0]) + "-" + std::to_string(event.id.sequence) + "=" +
                    std::string(event.text()));
    return true;
  }));
  return found;
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("journal inspect: a state directory without a journal is empty, and none at all is refused") {
  const test::TempDir state;
  const JournalView view(state.path());
  CHECK(view.segments().empty());
  CHECK(view.whole());
  CHECK(unfinished(view).empty());
  CHECK_THROWS_AS(JournalView(state.path() / "none"), sluice::StartError);
}

TEST_CASE("journal inspect: counts are those of what is there, and only what is not settled is shown") {
  const test::TempDir state;
  Writer(1).commit(1, {"a", "b"}).commit(3, {"c"}).settle(2, 2).seal().save(state);
  Writer(2).commit(4, {"d"}).save(state);
  const JournalView view(state.path());
  REQUIRE(view.segments().size() == 2);
  const JournalSegment& first = view.segments()[0];
  CHECK(first.state == JournalSegment::State::sealed);
  CHECK(first.run == kRun);
  CHECK(first.first == 1);
  CHECK(first.last == 3);
  CHECK(first.events == 3);
  CHECK(first.settled == 2);
  CHECK(first.unfinished == 1);
  CHECK(first.broken == 0);
  CHECK(view.segments()[1].state == JournalSegment::State::open);
  CHECK(view.totals().unfinished == 2);
  CHECK(view.whole());
  CHECK(unfinished(view) == Lines{"1-1=a", "1-4=d"});
}

TEST_CASE("journal inspect: of an event that was copied the newest copy counts, and the order stays that of the run") {
  const test::TempDir state;
  const format::Header copies{.kind = format::SegmentKind::copies, .seed = 0, .run = kRun};
  Writer(1).commit(1, {"a"}).commit(2, {"b"}).commit(3, {"c"}).seal().save(state);
  Writer(2).commit(4, {"d"}).save(state);
  Writer(3, copies).commit(1, {"a"}).commit(3, {"c"}).seal().save(state);
  Writer(4, copies).commit(3, {"c"}).settle(3, 1).seal().save(state);
  const JournalView view(state.path());
  CHECK(unfinished(view) == Lines{"1-1=a", "1-2=b", "1-4=d"});
  CHECK(view.segments()[0].events == 1);
  CHECK(view.segments()[2].copies);
  CHECK(view.segments()[2].events == 1);
  CHECK(view.segments()[3].settled == 1);
  CHECK(view.totals().events == 4);
}

TEST_CASE("journal inspect: an older run comes first, whatever its segments' numbers") {
  const test::TempDir state;
  const format::Header later{.seed = 0, .run = kLaterRun, .ordinal = 2};
  Writer(1, later).commit(1, {"new"}).save(state);
  Writer(2).commit(1, {"old"}).save(state);
  CHECK(unfinished(JournalView(state.path())) == Lines{"1-1=old", "4-1=new"});
}

TEST_CASE("journal inspect: a broken record before what was synced is damage, with its place; the others still count") {
  const test::TempDir state;
  Writer writer(1);
  writer.commit(1, {"one", "two", "three"}).commit(4, {"four"}).seal();
  writer.spoil(writer.find("two"));
  writer.save(state);
  const JournalView view(state.path());
  CHECK_FALSE(view.whole());
  CHECK(view.segments()[0].state == JournalSegment::State::damaged);
  CHECK(view.segments()[0].sealed);
  CHECK(view.segments()[0].broken == 1);
  REQUIRE(view.holes().size() == 1);
  CHECK(view.holes()[0].segment == 1);
  CHECK(view.holes()[0].offset <= writer.find("three"));
  CHECK_FALSE(view.holes()[0].torn);
  CHECK(unfinished(view) == Lines{"1-1=one", "1-3=three", "1-4=four"});
}

TEST_CASE("journal inspect: a torn end is no damage, and its request is absent as a whole") {
  const test::TempDir state;
  Writer writer(1);
  writer.commit(1, {"one"}).commit(2, {"two", "three"});
  writer.spoil(writer.find("three"));
  writer.save(state);
  const JournalView view(state.path());
  CHECK(view.whole());
  REQUIRE_FALSE(view.holes().empty());
  CHECK(view.holes()[0].torn);
  CHECK(unfinished(view) == Lines{"1-1=one"});
}

TEST_CASE("journal inspect: what its successor says was never acknowledged does not count") {
  const test::TempDir state;
  Writer first(1);
  first.commit(1, {"one"});
  const std::uint64_t end = first.size();
  first.commit(2, {"answered 500"}).save(state);
  const format::Header successor{
      .seed = 0, .run = kRun, .first_sequence = 3, .predecessor = 1, .predecessor_seed = 77, .predecessor_end = end};
  Writer(2, successor).commit(3, {"three"}).save(state);
  CHECK(unfinished(JournalView(state.path())) == Lines{"1-1=one", "1-3=three"});
}

TEST_CASE("journal inspect: headers that fit nowhere, one of two, a newer version, and what was set aside") {
  const test::TempDir state;
  Writer(1).commit(1, {"one"}).spoil(3).spoil(format::kSecondHeader + 3).save(state);
  Writer(2).commit(2, {"two"}).spoil(format::kSecondHeader + 3).save(state);
  Writer(3, {.version = format::kVersion + 1, .seed = 0, .run = kRun}).commit(3, {"three"}).save(state);
  Writer(4).commit(4, {"four"}).save(state, format::damaged_name(4));
  Writer(5).save(state);
  const JournalView view(state.path());
  REQUIRE(view.segments().size() == 5);
  CHECK(view.segments()[0].state == JournalSegment::State::damaged);
  CHECK(view.segments()[1].state == JournalSegment::State::damaged);
  CHECK(view.segments()[2].state == JournalSegment::State::newer);
  CHECK(view.segments()[2].version == format::kVersion + 1);
  CHECK(view.segments()[3].state == JournalSegment::State::set_aside);
  CHECK(view.segments()[4].state == JournalSegment::State::open);
  CHECK_FALSE(view.whole());
  REQUIRE(view.holes().size() == 2);
  CHECK(view.holes()[1].offset == format::kSecondHeader);
  CHECK(unfinished(view) == Lines{"1-2=two"});
}

TEST_CASE("journal inspect: a visitor may end it") {
  const test::TempDir state;
  Writer(1).commit(1, {"a", "b"}).save(state);
  int shown = 0;
  CHECK_FALSE(JournalView(state.path()).for_each_unfinished([&](const sluice::Delivery&) { return ++shown < 1; }));
  CHECK(shown == 1);
}
