// Bytes that look like what they are not: payloads like records, another segment's bytes where they do not belong,
// files under other names, and a journal of a version that is still to come.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "journal/journal.h"
#include "model/memory_disk.h"
#include "sluice/error.h"
#include "sluice/journal.h"
#include "unit/journal_hand.h"
#include "unit/journal_trial.h"

using namespace trial;

namespace {

namespace format = sluice::journal;

// Up to the last byte that is not zero.
std::string content_of(const std::string& bytes) { return bytes.substr(0, bytes.find_last_not_of('\0') + 1); }

std::string with_header(std::string bytes, const format::Header& header, std::uint64_t at) {
  const auto encoded = format::encode(header);
  std::memcpy(&bytes[at], encoded.data(), encoded.size());
  return bytes;
}

format::Header header_of(const std::string& bytes) {
  const auto header = format::decode_header(std::as_bytes(std::span(bytes)));
  REQUIRE(header);
  return *header;
}

std::vector<std::string> segments_of(const Specimen& of) {
  std::vector<std::string> names;
  for (const Segment& segment : of.segments) names.push_back(segment.name());
  return names;
}

Expected with_stray(Expected expected, std::uint64_t number, std::uint64_t bytes) {
  expected.holes.insert({number, 0, bytes, false, false});
  expected.set_aside.insert(number);
  expected.unreadable.insert(number);
  return expected;
}

// What a start says when it refuses.
std::string refusal_of(model::MemoryDisk& disk) {
  try {
    const JournalHand hand(disk, 100);
    return "nothing: it opens";
  } catch (const sluice::StartError& error) {
    CHECK(error.kind() == sluice::StartError::Kind::unusable);
    return error.what();
  }
}

}  // namespace

TEST_CASE("journal forgery: payloads like records are payloads, also when the record around them is broken") {
  const Specimen& of = forgeries();
  const Expected whole = expected_undamaged(of);
  CHECK(whole.delivered.size() > 10);
  Trials trials(of);
  trials.of("undamaged", of.files, whole);
  std::uint64_t turn = 0;
  for (const Segment& segment : of.segments) {
    const std::string& bytes = of.files.at(segment.name());
    for (const Record& record : segment.records) {
      // Each byte of the frame, and some of what is in it, up to where the forgery begins anew.
      for (std::uint64_t at = record.offset; at < record.offset + record.size; at += at < record.offset + 80 ? 1 : 61) {
        if (turn++ % kTrialStride != 0) continue;
        trials.of(fmt::format("{} at {}", segment.name(), at), flip(of, segment.name(), at, 0x10));
      }
      trials.of(fmt::format("{} to {}", segment.name(), record.offset + 24),
                cut_off(of, segment.name(), record.offset + 24));
    }
    REQUIRE(bytes.size() > format::kFirstCommit);
  }
}

TEST_CASE("journal forgery: another segment's bytes over its own are broken records, not that one's") {
  const Specimen& of = specimen();
  Trials trials(of);
  for (const std::string& to : segments_of(of)) {
    const std::string own = content_of(of.files.at(to));
    trials.of(to + " over itself", overwrite(of, to, format::kFirstCommit, own.substr(format::kFirstCommit)));
    for (const std::string& from : segments_of(of)) {
      if (from == to) continue;
      const std::string other = content_of(of.files.at(from));
      const std::string what = fmt::format("{} over {}: ", from, to);
      // A block of headers, the other, both; all that was written, up to where either ends; the second half of it.
      trials.of(what + "first header", overwrite(of, to, 0, other.substr(0, format::kSecondHeader)));
      trials.of(what + "second header",
                overwrite(of, to, format::kSecondHeader, other.substr(format::kSecondHeader, format::kSecondHeader)));
      trials.of(what + "both headers", overwrite(of, to, 0, other.substr(0, format::kFirstCommit)));
      const std::uint64_t end = std::min(own.size(), other.size());
      const std::uint64_t half = format::aligned((format::kFirstCommit + end) / 2);
      trials.of(what + "commits", overwrite(of, to, format::kFirstCommit,
                                            other.substr(format::kFirstCommit, end - format::kFirstCommit)));
      trials.of(what + "half", overwrite(of, to, half, other.substr(half, end - half)));
    }
  }
}

TEST_CASE("journal forgery: its own bytes at another place are no records") {
  const Specimen& of = specimen();
  Trials trials(of);
  for (const Segment& segment : of.segments) {
    const std::string& bytes = of.files.at(segment.name());
    const std::string& settled = of.files.at(segment.settled_name());
    const std::string first =
        bytes.substr(format::kFirstCommit, segment.records[2].size + segment.records[3].size + 48);
    for (std::size_t i = 2; i < segment.records.size(); ++i) {
      const std::uint64_t at = segment.records[i].end();
      if (at + first.size() <= bytes.size())
        trials.of(fmt::format("{} at {}", segment.name(), at), overwrite(of, segment.name(), at, first));
    }
    for (const Record& record : segment.settles) {
      trials.of(segment.settled_name(), overwrite(of, segment.settled_name(), record.end(), settled.substr(0, 48)));
    }
  }
}

TEST_CASE("journal forgery: a settled file of another segment finishes nothing here") {
  const Specimen& of = specimen();
  Trials trials(of);
  for (const Segment& to : of.segments) {
    for (const Segment& from : of.segments) {
      if (&from == &to) continue;
      const std::string& other = of.files.at(from.settled_name());
      trials.of(fmt::format("{} over {}", from.settled_name(), to.settled_name()),
                overwrite(of, to.settled_name(), 0, other));
    }
  }
}

TEST_CASE("journal forgery: a copy of a segment under another number brings nothing twice") {
  const Specimen& of = specimen();
  const Expected expected = expected_undamaged(of);
  Trials trials(of);
  for (const Segment& segment : of.segments) {
    const std::string& bytes = of.files.at(segment.name());
    Files files = of.files;
    files[format::segment_name(20)] = bytes;
    trials.of("copy of " + segment.name(), files, with_stray(expected, 20, bytes.size()));
    files[format::settled_name(20)] = of.files.at(segment.settled_name());
    trials.of("copy of both files of " + segment.name(), files, with_stray(expected, 20, bytes.size()));
    // The settles are in the copy alone.
    files[segment.settled_name()].clear();
    trials.of("copy of " + segment.name() + ", which has lost its settles", files,
              with_stray(expected, 20, bytes.size()));
    // A copy of some time ago; but of copies there is no such thing, since they have a name only once they are whole.
    if (segment.copies) continue;
    files = of.files;
    const std::uint64_t early = segment.records[4].end();
    files[format::segment_name(20)] = bytes.substr(0, early);
    if (segment.named_by == 0 || early >= segment.named_synced)
      trials.of("old copy of " + segment.name(), files, with_stray(expected, 20, early));
  }
}

TEST_CASE("journal forgery: segments that have changed names bring what they hold, once") {
  const Specimen& of = specimen();
  Trials trials(of);
  const Expected expected = expected_undamaged(of);
  for (const Segment& one : of.segments) {
    for (const Segment& other : of.segments) {
      if (one.number >= other.number) continue;
      Files files = of.files;
      std::swap(files[one.name()], files[other.name()]);
      std::swap(files[one.settled_name()], files[other.settled_name()]);
      trials.of(fmt::format("{} and {}", one.name(), other.name()), files, expected);
    }
  }
}

TEST_CASE("journal forgery: a journal of a newer version is refused, and not a byte of it is touched") {
  for (const std::string& name : segments_of(specimen())) {
    for (const std::uint64_t only_at : {std::uint64_t{0}, format::kSecondHeader, std::uint64_t{1}}) {
      Files files = specimen().files;
      // Whatever else a start would do: remove, set aside, copy.
      files["segment-000015"] = std::string(std::size_t{1} << 16U, '\0');
      files["segment-000016"] = std::string(10000, 'x');
      files["segment-000017.settled"] = "x";
      files["segment-000001.settled.draft"] = "x";
      std::string& bytes = files.at(name);
      format::Header header = header_of(bytes);
      header.version = format::kVersion + 1;
      for (const std::uint64_t at : {std::uint64_t{0}, format::kSecondHeader}) {
        if (only_at == at || only_at == 1) bytes = with_header(bytes, header, at);
      }
      model::MemoryDisk disk(1);
      for (const auto& [file, content] : files) disk.replace(file, content);
      const std::string said = refusal_of(disk);
      INFO(said);
      CHECK(said.find(name) != std::string::npos);
      CHECK(said.find(fmt::format("version {}", format::kVersion + 1)) != std::string::npos);
      CHECK(said.find('\n') == std::string::npos);
      Files after;
      for (const std::string& file : disk.names()) after[file] = disk.bytes(file);
      CHECK(after == files);
      CHECK(disk.changing_calls() == 0);
    }
  }
}

TEST_CASE("journal forgery: a newer version in one header alone, whose checksum does not fit, is damage") {
  const Specimen& of = specimen();
  Trials trials(of);
  for (const Segment& segment : of.segments) {
    for (const std::uint64_t at : {std::uint64_t{0}, format::kSecondHeader}) {
      std::string number(4, '\0');
      number[0] = static_cast<char>(format::kVersion + 1);
      trials.of(fmt::format("{} at {}", segment.name(), at), overwrite(of, segment.name(), at + 8, number));
    }
  }
}

TEST_CASE("journal forgery: another version with a longer header is refused, and not a byte of it is touched") {
  for (const std::uint32_t version : {format::kVersion + 1, format::kVersion + 7, 0U}) {
    for (const std::string& name : segments_of(specimen())) {
      INFO(name, " version ", version);
      Files files = specimen().files;
      std::string& bytes = files.at(name);
      for (const std::uint64_t at : {std::uint64_t{0}, format::kSecondHeader}) {
        // Its checksum stands somewhere else.
        bytes.replace(at + 8, sizeof version, reinterpret_cast<const char*>(&version), sizeof version);
        bytes.replace(at + format::kHeaderSize - 8, 200, std::string(200, 'n'));
      }
      model::MemoryDisk disk(1);
      for (const auto& [file, content] : files) disk.replace(file, content);
      const std::string said = refusal_of(disk);
      CHECK(said.find(fmt::format("{} is of version {}", name, version)) != std::string::npos);
      Files after;
      for (const std::string& file : disk.names()) after[file] = disk.bytes(file);
      CHECK(after == files);
      CHECK(disk.changing_calls() == 0);

      const Shelf shelf(files);
      const sluice::JournalView view(shelf.state_dir());
      CHECK_FALSE(view.whole());
      CHECK(std::ranges::count(view.segments(), sluice::JournalSegment::State::newer, &sluice::JournalSegment::state) ==
            1);
    }
  }
}
