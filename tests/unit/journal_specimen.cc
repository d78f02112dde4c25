// The writing of the specimen, life by life, and the oracle.
#include "unit/journal_specimen.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <utility>
#include <variant>

#include "journal/journal.h"
#include "model/memory_disk.h"
#include "unit/journal_hand.h"

namespace trial {

namespace {

namespace format = sluice::journal;
using Kind = Record::Kind;

// Writes down what the journal is told to write.
class Author {
 public:
  Specimen every_kind() {
    failed_and_recovered();
    closed_with_a_spill();
    killed_and_copied_whole();
    killed_with_a_tail();
    killed_last();
    return finished();
  }

  // Segment 1 is sealed; in 2 there are its bytes, and 2's own. What is copied begins at a multiple of 8, as records
  // do.
  Specimen forgeries() {
    begin();
    commit({{"of the first", "also of the first"}});
    close(1);
    begin();
    commit({{"before", "finished"}});
    settle(2, 2, 1);
    write_settles();
    const std::string first = disk_.bytes("segment-000001");
    const std::string own = disk_.bytes("segment-000002").substr(0, synced_);
    const std::string pad(8 - (format::kEventFrame + JournalHand::kType.size()) % 8, '-');
    commit({{pad + own.substr(format::kFirstCommit), pad + first.substr(format::kFirstCommit)},
            {pad + own.substr(0, format::kHeaderSize), pad + first.substr(first.size() - format::kFooterSize)},
            {pad + disk_.bytes("segment-000002.settled").substr(0, 64)},
            {pad + own, pad + first}});
    commit({{"behind"}});
    commit({{pad + own.substr(format::kFirstCommit), "the end"}});
    kill();
    return finished();
  }

 private:
  Specimen finished() {
    Specimen made;
    for (const std::string& name : disk_.names()) made.files[name] = disk_.bytes(name);
    for (auto& [number, segment] : segments_) {
      if (!made.files.contains(segment.name())) continue;
      without_tail_copies(made.files.at(segment.name()));
      const auto header = header_of(made.files.at(segment.name()));
      segment.run = header.run;
      const auto copy = format::decode_header_copy(std::as_bytes(std::span(made.files.at(segment.settled_name()))));
      REQUIRE(copy);
      REQUIRE(copy->header.seed == header.seed);
      segment.made_size = copy->size;
      if (segments_.contains(header.predecessor)) {
        Segment& before = segments_.at(header.predecessor);
        before.named_by = number;
        before.named_end = header.predecessor_end;
        before.named_synced = header.predecessor_synced;
      }
    }
    for (auto& [number, segment] : segments_) {
      if (!made.files.contains(segment.name())) continue;
      for (const std::uint64_t at : {std::uint64_t{0}, format::kSecondHeader}) {
        segment.records.push_back({.kind = Kind::header, .offset = at, .size = format::kHeaderSize});
      }
      segment.settles.insert(segment.settles.begin(), {.kind = Kind::header_copy, .size = format::kHeaderCopySize});
      std::ranges::sort(segment.records, {}, &Record::offset);
      made.segments.push_back(std::move(segment));
    }
    return made;
  }

  using Requests = std::vector<std::vector<std::string>>;

  // Segment 1 ends in a commit whose outcome is unknown, and says nothing of it; segment 2 does, and is sealed.
  void failed_and_recovered() {
    begin();
    commit({{"one"}, {"two", "three", "four"}});
    commit({{"five", ""}, {"seven"}});
    settle(1, 2, 1);
    settle(1, 5, 1);
    write_settles();
    disk_.fail({.call = model::Call::stat});
    commit({{"answered 500", "so it may not come"}});
    REQUIRE(hand_->journal().failed());
    REQUIRE_FALSE(sluice::backlog::recover_blocks(hand_->journal(), {}));
    commit({{"ten", "eleven"}, {"twelve"}});
    settle(2, 11, 1);
    settle(1, 3, 1);
    write_settles();
    close(2);
  }

  // Segment 3 was closed well, 4 was spilled.
  void closed_with_a_spill() {
    begin();
    commit({{"a", "bb", std::string(60, 'c')}});
    commit({{"d"}, {"e"}});
    const std::array<std::pair<std::uint64_t, std::string>, 3> loose{{{50, "spilled"}, {53, ""}, {54, "spilled too"}}};
    const std::uint64_t number = hand_->spill(loose);
    REQUIRE(number == 4);
    wrote_closed(number, {loose.begin(), loose.end()});
    settle(3, 1, 1);
    settle(4, 53, 1);
    write_settles();
    settle(3, 5, 1);
    write_settles();
    close(3);
  }

  // Of segment 5 there are only copies, in 6; segment 7 comes after.
  void killed_and_copied_whole() {
    begin();
    commit({{"tail one", "tail two"}, {"tail three"}, {"tail four"}});
    kill();
    begin();
    wrote_closed(6, {{1, "tail one"}, {2, "tail two"}, {3, "tail three"}, {4, "tail four"}});
    segments_.at(6).copies = true;
    static_cast<void>(hand_->take_all());
    hand_->journal().maintain();
    commit({{"seven's"}, {"its second", "its third"}});
    settle(6, 2, 1);
    settle(7, 2, 1);
    write_settles();
    close(7);
    const auto names = disk_.names();
    REQUIRE(std::ranges::find(names, "segment-000005") == names.end());
  }

  // Segment 8 was cut short by a kill; its last commit stands in 9 as well.
  void killed_with_a_tail() {
    begin();
    commit({{"eight one", "eight two"}, {"eight three"}});
    commit({{"eight four"}, {"eight five", "eight six"}, {"eight seven"}});
    settle(8, 2, 1);
    settle(8, 7, 1);
    write_settles();
    kill();
    begin();
    wrote_closed(9, {{4, "eight four"}, {5, "eight five"}, {6, "eight six"}});
    segments_.at(9).copies = true;
  }

  // In the same life as 9; segment 10 is the last, and nothing names its end.
  void killed_last() {
    commit({{"ten one"}, {"ten two", "ten three"}});
    settle(9, 5, 1);
    settle(8, 1, 1);
    write_settles();
    commit({{"ten four"}, {"ten five", "ten six", "ten seven"}, {std::string(40, 'x')}});
    settle(10, 2, 1);
    settle(10, 4, 1);
    write_settles();
    settle(10, 6, 2);
    settle(9, 4, 1);
    write_settles();
    kill();
  }

  void begin() {
    // A start would seal what was cut short. As it is, it is what the very next one finds if this one is killed before.
    for (const std::string_view cut_short : {"segment-000001", "segment-000008"}) {
      disk_.fail({.call = model::Call::open,
                  .error = std::errc::permission_denied,
                  .where = [cut_short](std::string_view name) { return name == cut_short; }});
    }
    hand_ = std::make_unique<JournalHand>(disk_, ++lives_);
    synced_ = format::kFirstCommit;
  }

  void commit(const Requests& requests) {
    std::uint64_t sequence = hand_->next_sequence();
    const bool was_failed = hand_->journal().failed();
    REQUIRE_FALSE(was_failed);
    const auto place = hand_->commit(requests);
    Segment& segment = segments_[place.segment];
    segment.number = place.segment;
    if (last_ != place.segment) synced_ = format::kFirstCommit;
    last_ = place.segment;
    segment.records.push_back(
        {.kind = Kind::begin, .offset = place.begin, .size = format::kCommitFrame, .synced = synced_});
    std::uint64_t at = place.begin + format::kCommitFrame;
    for (const auto& request : requests) {
      for (const std::string& payload : request) {
        segment.records.push_back({.kind = Kind::event,
                                   .offset = at,
                                   .size = format::kEventFrame + JournalHand::kType.size() + payload.size(),
                                   .sequence = sequence++,
                                   .payload = payload,
                                   .request = requests_});
        at = segment.records.back().end();
      }
      ++requests_;
    }
    segment.records.push_back({.kind = Kind::end, .offset = at, .size = format::kCommitFrame, .synced = synced_});
    if (hand_->journal().failed()) return;
    synced_ = at + format::kCommitFrame;
    REQUIRE(place.end == synced_);
  }

  // Copies, or what was spilled: each event a request of its own, one commit, a footer.
  void wrote_closed(std::uint64_t number, const std::vector<std::pair<std::uint64_t, std::string>>& events) {
    Segment& segment = segments_[number];
    segment.number = number;
    std::uint64_t at = format::kFirstCommit;
    const std::uint64_t synced = at;
    segment.records.push_back({.kind = Kind::begin, .offset = at, .size = format::kCommitFrame, .synced = synced});
    at += format::kCommitFrame;
    for (const auto& [sequence, payload] : events) {
      segment.records.push_back({.kind = Kind::event,
                                 .offset = at,
                                 .size = format::kEventFrame + JournalHand::kType.size() + payload.size(),
                                 .sequence = sequence,
                                 .payload = payload,
                                 .request = requests_++});
      at = segment.records.back().end();
    }
    segment.records.push_back({.kind = Kind::end, .offset = at, .size = format::kCommitFrame, .synced = synced});
    sealed(segment, false);
  }

  void sealed(Segment& segment, bool taken) const {
    std::uint64_t at = segment.records.back().end();
    if (taken) at = format::next_block(at);
    segment.records.push_back({.kind = Kind::footer, .offset = at, .size = format::kFooterSize});
    REQUIRE(disk_.bytes(segment.name()).size() == at + format::kFooterSize);
  }

  void settle(std::uint64_t segment, std::uint64_t first, std::uint64_t count) {
    hand_->journal().settle(segment, first, count);
    pending_[segment].push_back({first, count});
  }
  // One record a segment. Ranges that touch were not settled here in one go, so each is one.
  void write_settles() {
    REQUIRE_FALSE(hand_->journal().write_settles());
    for (auto& [number, ranges] : pending_) {
      std::ranges::sort(ranges, {}, &format::Range::first);
      Segment& segment = segments_.at(number);
      const std::uint64_t at = segment.settles.empty() ? format::kHeaderCopySize : segment.settles.back().end();
      const std::uint64_t size = format::kHeadSize + ranges.size() * format::kRangeSize;
      segment.settles.push_back({.kind = Kind::settles, .offset = at, .size = size, .ranges = std::move(ranges)});
    }
    pending_.clear();
  }

  void close(std::uint64_t last) {
    REQUIRE_FALSE(hand_->journal().close());
    hand_.reset();
    sealed(segments_.at(last), true);
  }
  void kill() { hand_.reset(); }

  // As an older build leaves it: they would mend what the trials break. journal_tail_test.cc has them.
  static void without_tail_copies(std::string& bytes) {
    const std::size_t at = bytes.size() % format::kBlock == 0 ? bytes.size() - format::kTailRoom : bytes.size();
    if (at == bytes.size()) return;  // sealed
    bytes.replace(at, format::kTailRoom, format::kTailRoom, '\0');
  }

  static format::Header header_of(const std::string& bytes) {
    const auto header = format::decode_header(std::as_bytes(std::span(bytes)));
    REQUIRE(header);
    return *header;
  }

  model::MemoryDisk disk_{1};
  std::unique_ptr<JournalHand> hand_;
  std::uint64_t lives_ = 0;
  std::map<std::uint64_t, Segment> segments_;
  std::map<std::uint64_t, std::vector<format::Range>> pending_;
  std::size_t requests_ = 0;
  std::uint64_t synced_ = 0;
  std::uint64_t last_ = 0;
};

// ---- the oracle

// What is left of one segment.
class Remains {
 public:
  Remains(const Segment& segment, const Damage& damage) : segment_(segment), damage_(damage) {
    const Files& files = damage.of->files;
    bytes_ = hit(segment.name()) ? damage.bytes : files.at(segment.name());
    if (files.contains(segment.settled_name())) {
      settled_bytes_ = hit(segment.settled_name()) ? damage.bytes : files.at(segment.settled_name());
    }
    for (const Record& record : segment.records) {
      if (record.kind == Kind::header) (intact(record) ? headers_ : broken_headers_).push_back(record.offset);
      if (record.kind == Kind::footer && intact(record) && bytes_.size() == record.offset + record.size) {
        sealed_ = true;
        synced_ = record.offset;
      }
    }
    for (const Record& record : segment.records) {
      if (sealed_ || !intact(record)) continue;
      if (record.kind == Kind::begin || record.kind == Kind::end) synced_ = std::max(synced_, record.synced);
    }
    // Copies have a name only when all of it is, and their header says how far that is.
    if (segment.copies && !sealed_) synced_ = segment.records.back().end();
    copied_ = intact(segment.settles.front());
  }
  // What the header of its successor says of it, if that can be read.
  void is_named() {
    named_ = true;
    if (sealed_) return;
    synced_ = std::max(synced_, segment_.named_synced);
    limit_ = segment_.named_end;
  }

  [[nodiscard]] const Segment& segment() const { return segment_; }
  [[nodiscard]] bool readable() const { return !headers_.empty() || copied_; }
  // Something came behind its end, and nobody knows what: it is shorter than it was made, it is not sealed, nor is that
  // what a crash leaves that came in the midst of sealing it, and it ends in what was written.
  [[nodiscard]] bool is_cut() const {
    if (!copied_ || sealed_ || named_ || segment_.copies || size() >= segment_.made_size) return false;
    std::uint64_t at = format::kFirstCommit;
    Kind last = Kind::header;
    for (const Record& record : segment_.records) {
      if (record.kind == Kind::header || !intact(record)) continue;
      at = record.end();
      last = record.kind;
    }
    const bool fits = size() == at + format::kFooterSize || size() == format::next_block(at) + format::kFooterSize;
    if (last == Kind::end && fits) return false;
    return at >= size() || used_of(bytes_, at, size()) > 0;
  }
  [[nodiscard]] std::uint64_t size() const { return bytes_.size(); }
  [[nodiscard]] const std::vector<std::uint64_t>& broken_headers() const { return broken_headers_; }

  [[nodiscard]] bool intact(const Record& record) const {
    const bool settles = record.kind == Kind::settles || record.kind == Kind::header_copy;
    if (!hit(settles ? segment_.settled_name() : segment_.name())) return true;
    if (damage_.length && record.offset + record.size > *damage_.length) return false;
    if (damage_.to <= record.offset || record.offset + record.size <= damage_.from) return true;
    // What was written over it may be what stood there: two events of one tick of the clock share a word.
    const std::string& was = damage_.of->files.at(damage_.file);
    return damage_.bytes.compare(record.offset, record.size, was, record.offset, record.size) == 0;
  }

  // An event's record that is to be read, and taken.
  [[nodiscard]] bool counts(const Record& record) const {
    if (!readable() || !intact(record) || record.offset >= limit_) return false;
    return record.offset < synced_ || std::ranges::all_of(segment_.records, [&](const Record& other) {
             return other.kind != Kind::event || other.request != record.request || intact(other);
           });
  }
  // One that must have been there.
  [[nodiscard]] bool is_missed(const Record& record) const {
    return readable() && !intact(record) && record.offset < std::min(synced_, limit_);
  }
  [[nodiscard]] bool is_settled(std::uint64_t sequence) const {
    return readable() && std::ranges::any_of(segment_.settles, [&](const Record& record) {
             return intact(record) && std::ranges::any_of(record.ranges, [&](const format::Range& range) {
                      return range.first <= sequence && sequence < range.first + range.count;
                    });
           });
  }

  [[nodiscard]] std::vector<Hole> holes() const {
    std::vector<Hole> found;
    const std::uint64_t n = segment_.number;
    if (!readable()) return {{n, 0, size(), false, false}};
    for (const std::uint64_t offset : broken_headers_) found.push_back({n, offset, format::kHeaderSize, false, false});
    std::uint64_t at = format::kFirstCommit;
    for (const Record& record : segment_.records) {
      if (record.kind == Kind::header || !intact(record)) continue;
      if (record.offset > at && !is_padding(at, record)) add_hole(found, at, record.offset);
      at = record.end();
    }
    if (is_cut()) {
      found.push_back({n, at, segment_.made_size - at, false, false});
    } else if (!sealed_) {
      add_hole(found, at, std::max(std::max(at, synced_), size()));
    }
    at = 0;
    for (const Record& record : segment_.settles) {
      if (!intact(record)) continue;
      if (const auto used = used_of(settled_bytes_, at, record.offset)) found.push_back({n, at, used, true, true});
      at = record.end();
    }
    if (const auto used = used_of(settled_bytes_, at, settled_bytes_.size()))
      found.push_back({n, at, used, true, true});
    return found;
  }

 private:
  [[nodiscard]] bool hit(const std::string& file) const { return damage_.file == file; }

  void add_hole(std::vector<Hole>& found, std::uint64_t begin, std::uint64_t end) const {
    std::uint64_t bytes = used_of(bytes_, begin, end);
    if (begin < synced_) bytes = std::max(bytes, std::min(end, synced_) - begin);
    if (bytes > 0) found.push_back({segment_.number, begin, bytes, begin >= synced_, false});
  }
  // Zeros before what begins in a block of its own, behind what was synced.
  [[nodiscard]] bool is_padding(std::uint64_t at, const Record& record) const {
    const bool says_so = record.kind == Kind::footer || (record.kind == Kind::begin && record.synced == at);
    return says_so && record.offset == format::next_block(at) && used_of(bytes_, at, record.offset) == 0;
  }
  // Up to the last word that is not zero.
  static std::uint64_t used_of(const std::string& bytes, std::uint64_t begin, std::uint64_t end) {
    end = std::min<std::uint64_t>(end, bytes.size());
    if (begin >= end) return 0;
    const auto last = bytes.find_last_not_of('\0', end - 1);
    return last == std::string::npos || last < begin ? 0 : std::min((last - begin) / 8 * 8 + 8, end - begin);
  }

  const Segment& segment_;
  const Damage& damage_;
  std::string bytes_, settled_bytes_;
  std::vector<std::uint64_t> headers_, broken_headers_;  // where
  bool sealed_ = false;
  bool named_ = false;
  bool copied_ = false;  // the header, in the settled file
  std::uint64_t synced_ = format::kFirstCommit;
  std::uint64_t limit_ = UINT64_MAX;
};

}  // namespace

std::string to_string(const Hole& hole) {
  return fmt::format("{} {}{} offset={} bytes={}", hole.torn ? "torn" : "broken", format::segment_name(hole.segment),
                     hole.settles ? ".settled" : "", hole.offset, hole.bytes);
}

Id id_of(const sluice::RunId& run, std::uint64_t sequence) { return sluice::to_string(sluice::EventId{run, sequence}); }

const Specimen& specimen() {
  static const Specimen made = Author().every_kind();
  return made;
}

const Specimen& forgeries() {
  static const Specimen made = Author().forgeries();
  return made;
}

Damage flip(const Specimen& of, const std::string& file, std::uint64_t at, unsigned char bits) {
  std::string bytes = of.files.at(file);
  bytes[at] = static_cast<char>(static_cast<unsigned char>(bytes[at]) ^ bits);
  return {&of, file, at, at + 1, {}, std::move(bytes)};
}

Damage cut_off(const Specimen& of, const std::string& file, std::uint64_t length) {
  return {&of, file, 0, 0, length, of.files.at(file).substr(0, length)};
}

Damage overwrite(const Specimen& of, const std::string& file, std::uint64_t at, std::string_view with) {
  std::string bytes = of.files.at(file);
  bytes.replace(at, with.size(), with);
  return {&of, file, at, at + with.size(), {}, std::move(bytes)};
}

Expected expected_of(const Damage& damage) {
  std::vector<Remains> all;
  for (const Segment& segment : damage.of->segments) all.emplace_back(segment, damage);
  for (Remains& one : all) {
    const auto successor =
        std::ranges::find(all, one.segment().named_by, [](const Remains& other) { return other.segment().number; });
    if (successor != all.end() && successor->readable()) one.is_named();
  }

  Expected expected;
  std::map<Id, bool> missed;  // whether it is
  for (const Remains& one : all) {
    const std::uint64_t number = one.segment().number;
    for (const Hole& hole : one.holes()) {
      expected.holes.insert(hole);
      if (!hole.torn) expected.set_aside.insert(number);
    }
    if (!one.readable()) {
      expected.unreadable.insert(number);
      ++expected.lost;  // at least: nobody knows what it was
    }
    const bool misses_any = std::ranges::any_of(one.segment().records, [&](const Record& record) {
      return record.kind == Kind::event && one.is_missed(record);
    });
    if (one.is_cut() && !misses_any) ++expected.lost;
    for (const Record& record : one.segment().records) {
      if (record.kind != Kind::event) continue;
      const Id id = id_of(one.segment().run, record.sequence);
      const bool settled = std::ranges::any_of(all, [&](const Remains& other) {
        return other.segment().run == one.segment().run && other.is_settled(record.sequence);
      });
      if (settled) continue;
      if (one.counts(record)) expected.delivered[id] = record.payload;
      if (one.is_missed(record)) missed[id] = true;
    }
  }
  for (const auto& [id, is_missed] : missed) {
    if (!expected.delivered.contains(id)) ++expected.lost;
  }
  return expected;
}

Expected expected_undamaged(const Specimen& of) { return expected_of({&of, {}, 0, 0, {}, {}}); }

}  // namespace trial
