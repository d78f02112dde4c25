// Requeueing and dropping: read a bulk, take it, remove it from the log. See the header.
#include "sinks/dead_letter_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "sinks/dead_letter_entry.h"
#include "sinks/descriptor.h"

namespace sluice {

namespace {

// Lines that are no dead letters are moved to this file, in the same directory.
constexpr std::string_view kDamaged = "dead-letter.damaged";

// The limits of a bulk.
constexpr std::size_t kBulkEvents = 64;
constexpr std::size_t kBulkBytes = std::size_t{1} << 20U;

// Neighbouring lines of the file: either dead letters or damaged lines.
struct Bulk {
  std::vector<DeadLetterEntry> entries;
  std::vector<std::size_t> ends;  // the offset in the file after each entry
  std::string damaged;
  std::size_t damaged_lines = 0;
  std::size_t first_damaged = 0;  // its line number

  [[nodiscard]] bool empty() const noexcept { return entries.empty() && damaged_lines == 0; }
};

Bulk next_bulk(LineReader& lines, std::size_t at_most) {
  Bulk bulk;
  std::size_t bytes = 0;
  while (bulk.entries.size() < std::min(kBulkEvents, at_most) && bytes < kBulkBytes) {
    const auto line = lines.next();
    if (!line) break;
    auto entry = parse_dead_letter(*line);
    const bool of_another_kind = entry ? bulk.damaged_lines > 0 : !bulk.entries.empty();
    if (of_another_kind) {
      lines.put_back();
      break;
    }
    bytes += line->size();
    if (!entry) {
      if (bulk.damaged_lines++ == 0) bulk.first_damaged = lines.number();
      bulk.damaged += *line;
      bulk.damaged += '\n';
      continue;
    }
    entry->content_type = requeued_type(*entry);
    bulk.entries.push_back(*std::move(entry));
    bulk.ends.push_back(lines.offset());
  }
  return bulk;
}

// Passes the bulk to `take`, at once or, if that is too much, one by one. Returns how many were accepted, from the
// first.
std::size_t give(const Bulk& bulk, const DeadLetterFile::Take& take, Admit& answer) {
  std::vector<Event> events;
  for (const DeadLetterEntry& entry : bulk.entries) events.emplace_back(entry.payload, entry.content_type);
  answer = take(events);
  if (answer == Admit::accepted) return events.size();
  if (answer != Admit::full && answer != Admit::too_large) return 0;
  std::size_t taken = 0;
  while (taken < events.size() && (answer = take(std::span(events).subspan(taken, 1))) == Admit::accepted) ++taken;
  return taken;
}

}  // namespace

DeadLetterFile::DeadLetterFile(const std::filesystem::path& state_dir) : log_(dead_letter_path(state_dir)) {}

std::error_code DeadLetterFile::append(std::span<const DeadLetter> letters) {
  return letters.empty() ? std::error_code{} : log_.append(letters);
}

DeadLettersMoved DeadLetterFile::requeue(std::size_t at_most, const Take& take) {
  return move(at_most, [&take](const Bulk& bulk, std::string& error) {
    Admit answer = Admit::accepted;
    const std::size_t taken = give(bulk, take, answer);
    if (taken < bulk.entries.size()) error = "the next one is not taken: " + std::string(to_string(answer));
    return taken;
  });
}

DeadLettersMoved DeadLetterFile::drop(std::size_t at_most) {
  return move(at_most, [](const Bulk& bulk, std::string& /*error*/) { return bulk.entries.size(); });
}

// `take` returns how many letters of a bulk to remove, from the first. Damaged lines before them are set aside.
template <class TakeBulk>
DeadLettersMoved DeadLetterFile::move(std::size_t at_most, TakeBulk take) {
  const std::lock_guard only_one(moving_);
  DeadLettersMoved moved;
  std::optional<LineReader> lines = begin_move(moved);
  if (!lines) return moved;
  std::size_t bytes = 0;
  while (moved.moved < at_most && moved.error.empty()) {
    const Bulk bulk = next_bulk(*lines, at_most - moved.moved);
    if (bulk.empty()) break;
    if (bulk.damaged_lines > 0) {
      if (const std::error_code error = set_aside(bulk.damaged)) {
        moved.error = "set aside what is no dead letter in " + log_.path().string() + ": " + error.message();
        moved.left = bulk.damaged_lines;
        break;
      }
      if (moved.damaged == 0) moved.first_damaged = bulk.first_damaged;
      moved.damaged += bulk.damaged_lines;
      bytes = lines->offset();
      continue;
    }
    const std::size_t taken = take(bulk, moved.error);
    if (taken > 0) bytes = bulk.ends[taken - 1];
    moved.moved += taken;
    moved.left = bulk.entries.size() - taken;
  }
  finish_move(moved, bytes, *lines);
  return moved;
}

// A reader of the lines that are in the file now; lines appended meanwhile are not moved.
std::optional<LineReader> DeadLetterFile::begin_move(DeadLettersMoved& moved) {
  std::size_t size = 0;
  if (const std::error_code error = log_.size(size)) {
    moved.error = "read " + log_.path().string() + ": " + error.message();
    return std::nullopt;
  }
  return std::optional<LineReader>(std::in_place, log_.path(), size);
}

// Removes the first `bytes` of the file, which were moved, and counts the lines that were not read. Lines appended
// meanwhile do not count, or a caller would requeue a letter that is refused again and again.
void DeadLetterFile::finish_move(DeadLettersMoved& moved, std::size_t bytes, LineReader& lines) {
  while (lines.next()) ++moved.left;
  std::error_code error = lines.error();
  if (!error) error = log_.remove_front(bytes, lines);
  if (error) moved.error = "strike dead letters off " + log_.path().string() + ": " + error.message();
}

// Appends to the file of damaged lines, durably.
std::error_code DeadLetterFile::set_aside(std::string_view lines) const {
  const std::filesystem::path path = log_.path().parent_path() / kDamaged;
  const Descriptor to(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!to.is_open()) return last_error();
  if (const std::error_code error = to.write(lines)) return error;
  return ::fsync(to.get()) == 0 ? std::error_code{} : last_error();
}

}  // namespace sluice
