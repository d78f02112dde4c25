// The lines of the model's sink. A line that does not fit its check ends the file: it may be what a lost block shows.
#include "model/sink_file.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <system_error>

#include "model/oracle.h"

namespace model {
namespace {

std::string hex(std::uint64_t number) {
  std::array<char, 16> digits;
  for (std::size_t i = 0; i < digits.size(); ++i) digits[i] = "0123456789abcdef"[number >> (60 - 4 * i) & 15U];
  return {digits.data(), digits.size()};
}

std::optional<std::uint64_t> number(std::string_view text, int base) {
  std::uint64_t value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (failed != std::errc{} || end != text.data() + text.size()) return {};
  return value;
}

constexpr std::size_t kRunText = 36;

std::optional<sluice::RunId> run(std::string_view text) {
  sluice::RunId run;
  std::size_t digit = 0;
  for (const char c : text) {
    if (c == '-') continue;
    const auto value = number({&c, 1}, 16);
    if (!value || digit == 2 * run.bytes.size()) return {};
    auto& byte = run.bytes[digit / 2];
    byte = static_cast<std::uint8_t>(byte << 4U | *value);
    ++digit;
  }
  return run;
}

std::string line(const Handed& event) {
  const std::string text = to_string(event.id) + ' ' + hex(Oracle::hash(event.payload));
  return text + ' ' + hex(Oracle::hash(text)) + '\n';
}

std::optional<std::pair<sluice::EventId, std::uint64_t>> parse_line(std::string_view text) {
  constexpr std::size_t kTail = 1 + 16 + 1 + 16;  // a blank and a number, twice
  if (text.size() < kRunText + 2 + kTail) return {};
  const std::string_view body = text.substr(0, text.size() - 17);
  if (number(text.substr(text.size() - 16), 16) != Oracle::hash(body)) return {};
  const auto hash = number(body.substr(body.size() - 16), 16);
  const auto whose = run(text.substr(0, kRunText));
  const auto sequence = number(body.substr(kRunText + 1, body.size() - kRunText - 1 - 17), 10);
  if (!hash || !whose || !sequence) return {};
  return std::pair{sluice::EventId{*whose, *sequence}, *hash};
}

void check(std::error_code failed) {
  if (failed) throw std::system_error(failed, "the sink");
}

}  // namespace

void SinkFile::create(MemoryDisk& disk) {
  std::unique_ptr<sluice::DiskFile> file;
  check(disk.open(std::string(kName), sluice::Disk::Open::create, file));
  check(file->sync());
  check(disk.sync_directory());
}

SinkFile::SinkFile(MemoryDisk& disk, Syncs how) : how_(how) {
  check(disk.open(std::string(kName), sluice::Disk::Open::write, file_));
  sluice::DiskFile::Stat stat;
  check(file_->stat(stat));
  std::string bytes(stat.size, '\0');
  std::size_t got = 0;
  check(file_->read(0, std::as_writable_bytes(std::span(bytes)), got));
  good_ = parse(std::string_view(bytes).substr(0, got)).second;
  check(file_->truncate(good_));
  // An earlier life's sync may have failed, and left lines that no disk has in pages that count as clean.
  const auto kept = std::as_bytes(std::span(bytes)).first(good_);
  check(file_->write(0, {&kept, 1}));
  check(file_->sync());
  synced_ = good_;
}

bool SinkFile::append(std::span<const Handed> events) {
  const std::scoped_lock lock(mutex_);
  if (torn_ && (file_->truncate(good_) || !sync_file())) return false;
  torn_ = true;
  std::string lines;
  for (const Handed& event : events) lines += line(event);
  const std::span<const std::byte> piece = std::as_bytes(std::span(lines));
  if (file_->write(good_, {&piece, 1})) return false;
  if (how_ == Syncs::by_itself && file_->sync()) return false;
  good_ += lines.size();
  torn_ = false;
  if (how_ == Syncs::by_itself) {
    synced_ = good_;
  } else {
    for (const Handed& event : events) unsynced_.push_back(event.id);
  }
  return true;
}

// A failure may have thrown away all that was not synced: it is cut off, and comes again.
bool SinkFile::sync_file() {
  if (file_->sync()) {
    gone_.insert(unsynced_.begin(), unsynced_.end());
    unsynced_.clear();
    good_ = synced_;
    torn_ = true;
    return false;
  }
  unsynced_.clear();
  synced_ = good_;
  return true;
}

bool SinkFile::sync(std::span<const sluice::EventId> appended) {
  const std::scoped_lock lock(mutex_);
  const bool synced = unsynced_.empty() || sync_file();
  const bool all_there =
      std::ranges::none_of(appended, [this](const sluice::EventId& id) { return gone_.contains(id); });
  if (synced && all_there) return true;
  undone_.insert(appended.begin(), appended.end());
  return false;
}

bool SinkFile::is_undone(const sluice::EventId& id) const {
  const std::scoped_lock lock(mutex_);
  return undone_.contains(id);
}

std::pair<SinkFile::Lines, std::size_t> SinkFile::parse(std::string_view bytes) {
  Lines lines;
  std::size_t good = 0;
  for (std::size_t end = bytes.find('\n'); end != std::string_view::npos; end = bytes.find('\n', good)) {
    const auto parsed = parse_line(bytes.substr(good, end - good));
    if (!parsed) break;
    lines.push_back(*parsed);
    good = end + 1;
  }
  return {std::move(lines), good};
}

}  // namespace model
