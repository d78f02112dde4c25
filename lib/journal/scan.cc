// Reads a whole segment. Which events count is known only at its end: behind the last synced offset a request counts as
// a whole or not at all; before it each intact event counts, and each broken one is missing. One thread; keeps no
// state.
#include "journal/scan.h"

#include <algorithm>
#include <array>
#include <map>

#include "journal/record_reader.h"

namespace sluice::journal {

namespace {

// A request, or an intact part of one.
struct Piece {
  std::uint64_t offset = 0;
  std::uint64_t end = 0;  // of its last event
  std::uint64_t first_sequence = 0;
  std::uint64_t events = 0;
};

class Scanner {
 public:
  Scanner(DiskFile& file, const Header& header, const ScanLimits& limits, bool around)
      : limits_(limits),
        first_sequence_(header.first_sequence),
        reader_(file, header.seed, kFirstCommit, limits.size - limits.tail_room) {
    if (around) reader_.read_around();
  }

  Scan run() {
    scan_.synced = std::max(kFirstCommit, limits_.synced);
    for (bool more = true; more;) more = take(reader_.next());
    drop_open();
    check_begin();
    check_unreadable();
    check_holes();
    check_end();
    check_pieces();
    for (const Piece& piece : intact_) {
      if (piece.offset >= scan_.synced) scan_.tail.add(piece.first_sequence, piece.events);
    }
    count_broken();
    return std::move(scan_);
  }

 private:
  bool take(const RecordReader::Item& item) {
    switch (item.what) {
      case RecordReader::What::error:
        scan_.error = reader_.error();
        return false;
      case RecordReader::What::end:
        end_at_ = std::max(kFirstCommit, reader_.at());
        return false;
      case RecordReader::What::hole:
        drop_open();
        holes_.push_back(item);
        return true;
      case RecordReader::What::record:
        return record(item);
    }
    return false;
  }

  bool record(const RecordReader::Item& item) {
    commit_ends_ = item.head.kind == RecordKind::end ? item.offset + item.size : 0;
    if (item.offset >= limits_.end) {
      // A request behind it was answered "unknown" and does not count; the footer does.
      const bool stands_there = item.offset == limits_.end || item.offset == next_block(limits_.end);
      if (item.head.kind != RecordKind::footer || !stands_there) return true;
    }
    switch (item.head.kind) {
      case RecordKind::event:
        event(item);
        return true;
      case RecordKind::begin:
      case RecordKind::end:
        drop_open();
        commit_frame(item);
        return true;
      case RecordKind::footer:
        drop_open();
        scan_.footer = footer_in(item.record);
        scan_.synced = std::max(scan_.synced, item.offset);
        scan_.end = item.offset;
        return false;
      case RecordKind::settles:
      case RecordKind::header_copy:
      case RecordKind::tail:
        return true;  // does not belong here
    }
    return true;
  }

  void event(const RecordReader::Item& item) {
    const std::uint64_t sequence = event_in(item.record).sequence;
    const bool goes_on = open_ && !item.head.begins_request && item.offset == open_->end &&
                         sequence == open_->first_sequence + open_->events;
    if (!goes_on) {
      drop_open();
      open_ = Piece{item.offset, item.offset, sequence, 0};
      open_begins_ = item.head.begins_request;
    }
    open_->end = item.offset + item.size;
    ++open_->events;
    if (!item.head.ends_request) return;
    if (open_begins_) {
      count(*open_);
      open_.reset();
    } else {
      drop_open();
    }
  }

  void commit_frame(const RecordReader::Item& item) {
    const auto frame = commit_frame_in(item.record);
    if (!frame) return;
    const bool is_end = item.head.kind == RecordKind::end;
    const std::uint64_t begin = is_end ? item.offset + kCommitFrame - frame->length : item.offset;
    commits_[begin] = *frame;
    scan_.synced = std::max(scan_.synced, frame->synced);
    if (is_end) scan_.end = std::max(scan_.end, item.offset + item.size);
  }

  void count(const Piece& piece) {
    scan_.present.add(piece.first_sequence, piece.events);
    scan_.end = std::max(scan_.end, piece.end);
    intact_.push_back(piece);
    if (intact_.size() > 1 && joins(intact_[intact_.size() - 2], piece)) {
      intact_[intact_.size() - 2].end = piece.end;
      intact_[intact_.size() - 2].events += piece.events;
      intact_.pop_back();
    }
  }
  // Consecutive requests of a commit are stored as one; copies have gaps between them, and are stored one by one.
  static bool joins(const Piece& before, const Piece& piece) {
    return before.end == piece.offset && before.first_sequence + before.events == piece.first_sequence;
  }

  void drop_open() {
    if (open_) pieces_.push_back(*open_);
    open_.reset();
  }

  // If both headers are destroyed, the bytes after them are, too: no power cut does that. Their number of events is not
  // known, but the length of the first commit is, if its end is intact.
  void check_begin() {
    if (!limits_.headless || scan_.footer || limits_.end <= kFirstCommit) return;
    const bool gone = holes_.empty() ? end_at_ == kFirstCommit : holes_.front().offset == kFirstCommit;
    if (!gone) return;
    misses_one_ = limits_.end == UINT64_MAX;
    if (!holes_.empty()) scan_.synced = std::max(scan_.synced, holes_.front().offset + holes_.front().size);
    const auto first = commits_.find(kFirstCommit);
    if (first != commits_.end()) scan_.synced = std::max(scan_.synced, kFirstCommit + first->second.length);
  }

  // Unreadable bytes are damage, also behind the synced ones: their commit may have been acknowledged.
  void check_unreadable() {
    for (const RecordReader::Item& hole : holes_) {
      if (!hole.unreadable) continue;
      scan_.unreadable += hole.size;
      if (hole.offset >= limits_.end || hole.offset + hole.size <= scan_.synced) continue;
      misses_one_ = misses_one_ || (limits_.end == UINT64_MAX && !scan_.footer);
      std::uint64_t end = hole.offset + hole.used;
      for (const auto& [begin, frame] : commits_) {
        if (begin < end && begin + frame.length > hole.offset) end = std::max(end, begin + frame.length);
      }
      scan_.synced = std::max(scan_.synced, std::min(end, limits_.end));
    }
  }

  // A file that is shorter than it was made, and not sealed, was truncated by somebody. Except if a crash interrupted
  // its sealing, or if it ends in zeros, so that nothing was behind them, or if a successor says where it ends.
  void check_end() {
    if (scan_.footer || limits_.end != UINT64_MAX || limits_.size >= limits_.made_size) return;
    const RecordReader::Item last = holes_.empty() ? RecordReader::Item() : holes_.back();
    const bool hole_at_end = last.size > 0 && last.offset + last.size == end_at_;
    if (hole_at_end && last.used == 0) return;
    if (commit_ends_ != 0 && limits_.size == commit_ends_ + kFooterSize) return;
    if (commit_ends_ != 0 && limits_.size == next_block(commit_ends_) + kFooterSize) return;
    misses_one_ = true;
    const std::uint64_t from = hole_at_end ? last.offset : end_at_;
    if (!scan_.holes.empty() && scan_.holes.back().offset + scan_.holes.back().size >= from) {
      Hole& hole = scan_.holes.back();
      hole = {hole.offset, limits_.made_size - hole.offset, false};
    } else {
      scan_.holes.push_back({from, limits_.made_size - from, false});
    }
  }

  // Zeros and missing bytes are damage before the last synced offset, and nothing behind it.
  void check_holes() {
    for (const RecordReader::Item& item : holes_) {
      const std::uint64_t lost_to = std::min(item.offset + item.size, scan_.synced);
      const std::uint64_t end = std::max(item.offset + item.used, lost_to);
      if (end > item.offset) scan_.holes.push_back({item.offset, end - item.offset, item.offset >= scan_.synced});
    }
    if (scan_.footer || end_at_ >= scan_.synced) return;
    if (!scan_.holes.empty() && scan_.holes.back().offset + scan_.holes.back().size == end_at_) {
      scan_.holes.back().size = scan_.synced - scan_.holes.back().offset;
    } else {
      scan_.holes.push_back({end_at_, scan_.synced - end_at_, false});
    }
  }

  void check_pieces() {
    for (const Piece& piece : pieces_) {
      if (piece.offset < scan_.synced) {
        count(piece);
      } else {
        scan_.absent.add(piece.first_sequence, piece.events);
        scan_.end = std::max(scan_.end, piece.end);
      }
    }
  }

  void count_broken() {
    scan_.commits = commits_.size();
    for (const auto& [offset, frame] : commits_) {
      note_sequences(frame.first_sequence, frame.events);
      if (offset < scan_.synced) ++scan_.synced_commits;
    }
    scan_.present.each([this](std::uint64_t first, std::uint64_t n) { note_sequences(first, n); });
    if (scan_.footer && scan_.footer->events > 0) {
      note_sequences(scan_.footer->first_sequence, scan_.footer->last_sequence - scan_.footer->first_sequence + 1);
    }
    std::uint64_t intact = 0;  // before the last synced offset
    for (const Piece& piece : intact_) {
      if (piece.offset < scan_.synced) intact += piece.events;
      note_synced(piece.offset, piece.first_sequence, piece.events);
    }
    for (const auto& [offset, frame] : commits_) note_synced(offset, frame.first_sequence, frame.events);
    if (first_behind_ != UINT64_MAX) scan_.synced_last = std::max(scan_.synced_last, first_behind_ - 1);
    std::uint64_t expected = intact;
    if (scan_.footer) {
      expected = scan_.footer->events;
      scan_.synced_last = scan_.footer->last_sequence;
    } else if (limits_.synced >= scan_.synced) {
      expected = limits_.events;
      scan_.synced_last = limits_.last;
    } else if (scan_.damaged()) {
      expected = expected_by_commits();
    }
    scan_.synced_events = std::max(expected, intact);
    // Their number is not known: at least one.
    if (misses_one_ && scan_.synced_events == intact) ++scan_.synced_events;
    scan_.broken = scan_.synced_events - intact;
    scan_.events = scan_.present.size() + scan_.broken;
  }

  // Sequences count up, so the first one behind `synced` also bounds the synced ones.
  void note_synced(std::uint64_t offset, std::uint64_t first, std::uint64_t n) {
    if (n == 0) return;
    if (offset < scan_.synced) {
      scan_.synced_last = std::max(scan_.synced_last, first + n - 1);
    } else {
      first_behind_ = std::min(first_behind_, first);
    }
  }

  void note_sequences(std::uint64_t first, std::uint64_t n) {
    if (n == 0) return;
    if (scan_.last_sequence == 0) scan_.first_sequence = first;
    scan_.first_sequence = std::min(scan_.first_sequence, first);
    scan_.last_sequence = std::max(scan_.last_sequence, first + n - 1);
  }

  // The number of events before the last synced offset: each commit has it at both its ends. If both are broken, the
  // sequences before and after tell; these may have gaps, so no more than would fit.
  std::uint64_t expected_by_commits() {
    std::sort(intact_.begin(), intact_.end(), [](const Piece& a, const Piece& b) { return a.offset < b.offset; });
    std::uint64_t expected = 0;
    auto piece = intact_.begin();
    const auto intact_before = [&](std::uint64_t offset) {
      std::uint64_t events = 0;
      for (; piece != intact_.end() && piece->offset < offset; ++piece) events += piece->events;
      return events;
    };
    std::uint64_t next_sequence = first_sequence_;  // after the last known commit
    std::uint64_t at = kFirstCommit;
    for (const auto& [begin, frame] : commits_) {
      std::uint64_t gap = 0;
      const bool padded = begin == next_block(at) && frame.synced == at;
      if (next_sequence != 0 && frame.first_sequence > next_sequence && at + 2 * kCommitFrame < begin && !padded) {
        gap = std::min(frame.first_sequence - next_sequence, (begin - at - 2 * kCommitFrame) / kEventFrame);
      }
      expected += std::max(intact_before(begin), gap);
      if (begin >= scan_.synced) return expected;
      expected += std::max<std::uint64_t>(intact_before(begin + frame.length), frame.events);
      next_sequence = frame.first_sequence + frame.events;
      at = begin + frame.length;
    }
    return expected + intact_before(scan_.synced);
  }

  const ScanLimits limits_;
  const std::uint64_t first_sequence_;
  RecordReader reader_;
  Scan scan_;
  std::vector<RecordReader::Item> holes_;
  std::uint64_t end_at_ = kFirstCommit;           // of the file
  std::uint64_t commit_ends_ = 0;                 // offset, if the last record was a commit's end
  bool misses_one_ = false;                       // an unknown number of events is missing
  std::uint64_t first_behind_ = UINT64_MAX;       // the first sequence behind the last synced offset
  std::map<std::uint64_t, CommitFrame> commits_;  // by their first offset
  std::vector<Piece> intact_;
  std::vector<Piece> pieces_;  // of requests that are not whole
  std::optional<Piece> open_;
  bool open_begins_ = false;
};

// Reads before an error counts.
constexpr int kTries = 3;

bool is_zero(std::span<const std::byte> bytes) {
  return std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace

Scan scan(DiskFile& file, const Header& header, const ScanLimits& limits) {
  Scan found;
  for (int tries = 0; tries < kTries; ++tries) {
    found = Scanner(file, header, limits, false).run();
    if (!found.error) return found;
  }
  found = Scanner(file, header, limits, true).run();
  found.around = true;
  return found;
}

bool has_records(DiskFile& file, const Header& header, std::uint64_t size) {
  RecordReader reader(file, header.seed, kFirstCommit, size);
  reader.read_around();
  RecordReader::Item item = reader.next();
  if (item.what == RecordReader::What::hole) item = reader.next();
  return item.what == RecordReader::What::record;
}

namespace {

std::error_code read_patiently(DiskFile& file, std::uint64_t at, std::span<std::byte> to, std::size_t& got) {
  std::error_code error;
  for (int tries = 0; tries < kTries; ++tries) {
    error = file.read(at, to, got);
    if (!error) break;
  }
  return error;
}

// Some part of the file can be read, so the disk is not away; or the file is too short for an event.
bool can_be_read(DiskFile& file, std::uint64_t size) {
  std::array<std::byte, kAlign> word{};
  std::size_t got = 0;
  for (std::uint64_t at = kFirstCommit; at < size; at *= 2) {
    if (!file.read(at, word, got) && got > 0) return true;
  }
  return size <= kFirstCommit;
}

}  // namespace

bool is_unused(DiskFile& file, std::uint64_t size, std::error_code& error) {
  std::vector<std::byte> piece(RecordReader::kBuffer);
  std::error_code first;
  bool any = false;
  std::size_t got = 0;
  for (std::uint64_t at = 0; at < size; at += got) {
    const bool header = at < kFirstCommit;
    const auto to = std::span(piece).first(header ? kSecondHeader : piece.size());
    if (const std::error_code failed = read_patiently(file, at, to, got)) {
      first = failed;
      any = any || got > 0;
      got = to.size();  // its contents are unknown
      continue;
    }
    if (got == 0) break;  // it was truncated meanwhile
    any = true;
    if (!is_zero(std::span(piece).first(got).subspan(header ? std::min(got, kHeaderSize) : 0))) return false;
  }
  if (!any && size > kFirstCommit) error = first;
  return !first;
}

FoundHeader read_header(DiskFile& file, std::uint64_t size, const std::optional<HeaderCopy>& copy) {
  FoundHeader found;
  std::vector<Header> candidates;
  std::array<std::optional<Header>, kHeaderPlaces.size()> headers;
  std::array<std::optional<std::uint32_t>, kHeaderPlaces.size()> versions;
  std::size_t read = 0;
  for (std::size_t i = 0; i < kHeaderPlaces.size(); ++i) {
    HeaderBytes bytes{};
    std::size_t got = 0;
    if (const std::error_code error = read_patiently(file, kHeaderPlaces[i], bytes, got)) {
      found.error = error;
      continue;  // the other copies say the same
    }
    ++read;
    headers[i] = decode_header(std::span(bytes).first(got));
    if (headers[i]) candidates.push_back(*headers[i]);
    versions[i] = version_named(std::span(bytes).first(got));
  }
  if (copy) candidates.push_back(copy->header);
  // A later version may have its checksum elsewhere, whatever format.h says.
  if (versions[0] && versions[0] == versions[1] && !is_read(*versions[0])) {
    candidates.emplace_back().version = *versions[0];
  }
  if (!candidates.empty() || read > 0 || can_be_read(file, size)) found.error.clear();
  if (candidates.empty()) return found;

  const auto foreign = std::ranges::find_if(candidates, [](const Header& one) { return !is_read(one.version); });
  auto chosen = foreign != candidates.end() ? foreign : candidates.begin();
  const bool differ = std::ranges::any_of(candidates, [&](const Header& one) { return one.seed != chosen->seed; });
  if (foreign == candidates.end() && differ) {
    const auto weight = [&](const Header& one) {
      const auto said = std::ranges::count(candidates, one.seed, &Header::seed);
      return said + (has_records(file, one, size) ? std::ssize(candidates) : 0);
    };
    chosen = std::ranges::max_element(candidates, {}, weight);
  }
  found.header = *chosen;
  for (std::size_t i = 0; i < kHeaderPlaces.size(); ++i) {
    if (!headers[i] || headers[i]->seed != chosen->seed) found.broken.push_back(kHeaderPlaces[i]);
  }
  const bool copied = copy && copy->header.seed == chosen->seed;
  if (copied) found.made_size = copy->size;
  // A segment whose creation was cut short has one header or none, which is no damage. The copy proves that both were
  // there.
  std::error_code error;
  if (!copied && !found.broken.empty() && is_unused(file, size, error)) found.broken.clear();
  return found;
}

std::optional<HeaderCopy> read_header_copy(DiskFile& settled) {
  HeaderCopyBytes bytes{};
  std::size_t got = 0;
  if (settled.read(0, bytes, got)) return std::nullopt;
  return decode_header_copy(std::span(bytes).first(got));
}

std::optional<Footer> read_footer(DiskFile& file, const Header& header, std::uint64_t size) {
  if (size < kFirstCommit + kFooterSize || size % kAlign != 0) return std::nullopt;
  std::array<std::byte, kFooterSize> bytes{};
  std::size_t got = 0;
  const std::uint64_t at = size - kFooterSize;
  if (file.read(at, bytes, got) || got != bytes.size()) return std::nullopt;
  const auto head = peek(bytes);
  if (!head || head->kind != RecordKind::footer || !fits(bytes, header.seed, at)) return std::nullopt;
  return footer_in(bytes);
}

Settled read_settled(DiskFile& file, std::uint64_t segment_seed, std::uint64_t size) {
  Settled settled;
  RecordReader reader(file, settled_seed(segment_seed), 0, size);
  reader.read_around();
  for (;;) {
    const RecordReader::Item item = reader.next();
    if (item.what == RecordReader::What::error) {  // the rest cannot be read
      settled.holes.push_back({item.offset, size - item.offset, true});
      settled.unreadable += size - item.offset;
      return settled;
    }
    if (item.what == RecordReader::What::end) return settled;
    if (item.unreadable) settled.unreadable += item.size;
    if (item.what == RecordReader::What::hole && item.used > 0) settled.holes.push_back({item.offset, item.used, true});
    if (item.what != RecordReader::What::record) continue;
    settled.end = item.offset + item.size;
    if (item.head.kind != RecordKind::settles) continue;
    for (std::size_t i = 0; i < ranges_in(item.record); ++i) {
      const Range range = range_in(item.record, i);
      settled.set.add(range.first, range.count);
    }
  }
}

}  // namespace sluice::journal
