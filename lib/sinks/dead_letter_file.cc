// See the header. A dead letter's event leaves the books when append() has answered, so the answer waits for the disk.
// Entries are struck off by a draft of what stays, synced and renamed over the file, so that there is always one of the
// two, whole; append() notices by itself that its file is another one.
#include "sinks/dead_letter_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "admission/instant.h"
#include "sinks/dead_letter_entry.h"
#include "sinks/file_id.h"
#include "sinks/json_line.h"
#include "sinks/line_file.h"
#include "sinks/pieces.h"

namespace sluice {

namespace {

// Lines that are no dead letters go there, in the same directory.
constexpr std::string_view kDamaged = "dead-letter.damaged";

// A bulk of requeued events.
constexpr std::size_t kBulkEvents = 64;
constexpr std::size_t kBulkBytes = std::size_t{1} << 20U;

// What is copied with the lock held, which takes about as long as a worker's own sync; and where workers append faster
// than we copy, an end.
constexpr std::size_t kLittle = std::size_t{1} << 20U;
constexpr int kMostRounds = 100;

std::error_code last_error() { return {errno, std::generic_category()}; }

// A file that is read or written from begin to end; closed with the object.
class Plain {
 public:
  Plain(const std::filesystem::path& path, int flags) : descriptor_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
  Plain(const Plain&) = delete;
  Plain& operator=(const Plain&) = delete;
  ~Plain() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  [[nodiscard]] bool is_open() const noexcept { return descriptor_ >= 0; }
  [[nodiscard]] int get() const noexcept { return descriptor_; }

  // What comes next, as much as the buffer takes; nothing at the end.
  [[nodiscard]] std::error_code read(std::span<char> buffer, std::string_view& got) const {
    for (;;) {
      const ssize_t n = ::read(descriptor_, buffer.data(), buffer.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return last_error();
      got = {buffer.data(), static_cast<std::size_t>(n)};
      return {};
    }
  }
  [[nodiscard]] std::error_code write(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t n = ::write(descriptor_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return n < 0 ? last_error() : std::make_error_code(std::errc::io_error);
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return {};
  }

 private:
  const int descriptor_;
};

// The lines of a file up to some offset, one by one.
class Lines {
 public:
  Lines(const std::filesystem::path& path, std::size_t end)
      : file_(path, O_RDONLY), chunk_(std::size_t{64} << 10U), end_(end) {
    if (!file_.is_open()) error_ = last_error();
  }

  // The next line without its line feed, valid until the next call; nothing at the end or after an error.
  [[nodiscard]] std::optional<std::string_view> next() {
    if (std::exchange(again_, false)) {
      offset_ += line_.size() + 1;
      ++number_;
      return line_;
    }
    line_.clear();
    while (!error_) {
      const std::size_t end = waiting_.find('\n');
      line_ += waiting_.substr(0, end);
      if (end != std::string_view::npos) {
        waiting_.remove_prefix(end + 1);
        offset_ += line_.size() + 1;
        ++number_;
        return line_;
      }
      error_ = file_.read(std::span(chunk_).first(std::min(chunk_.size(), end_ - read_)), waiting_);
      read_ += waiting_.size();
      if (waiting_.empty()) return std::nullopt;
    }
    return std::nullopt;
  }

  // The last line comes once more.
  void put_back() noexcept {
    again_ = true;
    offset_ -= line_.size() + 1;
    --number_;
  }

  // Behind the last line.
  [[nodiscard]] std::size_t offset() const noexcept { return offset_; }
  // Of the last line, from 1.
  [[nodiscard]] std::size_t number() const noexcept { return number_; }
  [[nodiscard]] const std::error_code& error() const noexcept { return error_; }
  // Of this name there is no other file by now.
  [[nodiscard]] bool still_is(const std::filesystem::path& path) const noexcept {
    struct ::stat now {};
    return ::fstat(file_.get(), &now) == 0 && FileId::of(path.string()) == FileId(now);
  }

 private:
  Plain file_;
  std::vector<char> chunk_;
  std::size_t end_;
  std::size_t read_ = 0;
  std::string_view waiting_;  // in the chunk
  std::string line_;
  bool again_ = false;  // `line_` comes next
  std::size_t offset_ = 0;
  std::size_t number_ = 0;
  std::error_code error_;
};

// Lines that follow each other in the file: entries on their way, or such as are no dead letters.
struct Bulk {
  std::vector<DeadLetterEntry> entries;
  std::vector<std::size_t> ends;  // where in the file each entry ends
  std::string damaged;
  std::size_t damaged_lines = 0;
  std::size_t first_damaged = 0;  // its number in the file

  [[nodiscard]] bool empty() const noexcept { return entries.empty() && damaged_lines == 0; }
};

Bulk next_bulk(Lines& lines, std::size_t at_most) {
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

// How many of them were taken, the first ones: all at once, or one by one where all are too many.
std::size_t give(const Bulk& bulk, const DeadLetterFile::Take& take, Admit& answer) {
  std::vector<Event> events;
  for (const DeadLetterEntry& entry : bulk.entries) events.push_back(Event(entry.payload, entry.content_type));
  answer = take(events);
  if (answer == Admit::accepted) return events.size();
  if (answer != Admit::full && answer != Admit::too_large) return 0;
  std::size_t taken = 0;
  while (taken < events.size() && (answer = take(std::span(events).subspan(taken, 1))) == Admit::accepted) ++taken;
  return taken;
}

// What stays of the file while a part of it is struck off.
class Draft {
 public:
  Draft(const std::filesystem::path& from, const std::filesystem::path& to)
      : from_(from, O_RDONLY), to_(to, O_WRONLY | O_CREAT | O_TRUNC) {
    if (!from_.is_open() || !to_.is_open()) {
      error_ = last_error();
      return;
    }
    struct ::stat now {};
    // Who may read it stays who may read it.
    if (::fstat(from_.get(), &now) != 0 || ::fchmod(to_.get(), now.st_mode & 0777U) != 0) error_ = last_error();
  }
  [[nodiscard]] const std::error_code& error() const noexcept { return error_; }

  // Appends the bytes of the file from `begin` to `end`; on the disk when it returns.
  [[nodiscard]] std::error_code copy(std::size_t begin, std::size_t end) const {
    if (::lseek(from_.get(), static_cast<off_t>(begin), SEEK_SET) < 0) return last_error();
    std::vector<char> chunk(std::size_t{64} << 10U);
    for (std::string_view got; begin < end; begin += got.size()) {
      if (const std::error_code error = from_.read(std::span(chunk).first(std::min(chunk.size(), end - begin)), got))
        return error;
      if (got.empty()) return std::make_error_code(std::errc::io_error);  // somebody has cut it
      if (const std::error_code error = to_.write(got)) return error;
    }
    return ::fdatasync(to_.get()) == 0 ? std::error_code{} : last_error();
  }

 private:
  Plain from_, to_;
  std::error_code error_;
};

}  // namespace

struct DeadLetterFile::Impl {
  explicit Impl(const std::filesystem::path& path_to_it)
      : path(path_to_it), file(path.string(), LineFile::Kind::dead_letters) {}

  LineFile::Outcome write(std::span<const DeadLetter> letters) {
    // Not to be interrupted by a stop: the disk answers, or the process ends without us.
    const std::stop_token never;
    LineFile::Outcome outcome = file.begin(never);
    if (outcome.failed()) return outcome;
    Pieces out(buffer, [&](std::string_view piece) {
      outcome = file.write(piece, never);
      return !outcome.failed();
    });
    for (const DeadLetter& letter : letters) put_dead_letter(out, letter.event, letter.reason);
    return out.flush() ? file.finish(/*sync=*/true) : outcome;
  }

  // How long the file is, with nothing of a failed batch behind its last whole one; `mutex` is held.
  std::error_code measure(std::size_t& size) {
    const std::stop_token never;
    const LineFile::Outcome outcome = file.begin(never);
    file.abandon();
    if (outcome.failed()) return outcome.error;
    struct ::stat now {};
    if (::stat(path.c_str(), &now) != 0) return last_error();
    size = static_cast<std::size_t>(now.st_size);
    return {};
  }

  // The name goes over to the draft; `mutex` is held.
  std::error_code rename_draft() const {
    if (::rename(draft_path().c_str(), path.c_str()) != 0) return last_error();
    const Plain directory(path.parent_path().empty() ? "." : path.parent_path(), O_RDONLY | O_DIRECTORY);
    // One that may be entered but not read cannot be synced by us, nor is there another way.
    if (!directory.is_open()) return errno == EACCES ? std::error_code{} : last_error();
    return ::fsync(directory.get()) == 0 || errno == EINVAL ? std::error_code{} : last_error();
  }
  [[nodiscard]] std::filesystem::path draft_path() const { return path.string() + ".draft"; }

  // Behind what was set aside before; on the disk when it returns.
  std::error_code set_aside(std::string_view lines) const {
    const Plain to(path.parent_path() / kDamaged, O_WRONLY | O_CREAT | O_APPEND);
    if (!to.is_open()) return last_error();
    if (const std::error_code error = to.write(lines)) return error;
    return ::fsync(to.get()) == 0 ? std::error_code{} : last_error();
  }

  // The lines that are there by now; what is appended meanwhile is not looked at.
  std::optional<Lines> begin_move(DeadLettersMoved& moved) {
    const std::lock_guard lock(mutex);
    std::size_t size = 0;
    if (const std::error_code error = measure(size)) {
      moved.error = "read " + path.string() + ": " + error.message();
      return std::nullopt;
    }
    return std::optional<Lines>(std::in_place, path, size);
  }

  // Strikes off what was moved, the first `bytes`, and counts what is left behind the lines that were looked at.
  void finish_move(DeadLettersMoved& moved, std::size_t bytes, Lines& lines) {
    // Of those that were there at first: what was refused once more meanwhile is not asked for again and again.
    while (lines.next()) ++moved.left;
    std::error_code error = lines.error();
    if (!error) error = bytes > 0 ? strike(bytes, lines) : still_there(lines);
    if (error) moved.error = "strike dead letters off " + path.string() + ": " + error.message();
  }

  std::error_code still_there(const Lines& lines) {
    const std::lock_guard lock(mutex);
    std::size_t size = 0;
    if (const std::error_code error = measure(size)) return error;
    return lines.still_is(path) ? std::error_code{} : std::make_error_code(std::errc::no_such_file_or_directory);
  }

  // The first `bytes` of the file go. A gigabyte may stay, and workers must not wait for its copy: what is there is
  // copied and synced beside them, then what has come meanwhile, until that is little. Only the last step holds the
  // lock. (What was measured once is whole and stays as it is: a failed batch is cut off behind it.)
  std::error_code strike(std::size_t bytes, const Lines& lines) {
    Draft draft(path, draft_path());
    std::error_code error = draft.error();
    std::size_t end = bytes;
    for (int rounds = 0; !error; ++rounds) {
      std::unique_lock lock(mutex);
      std::size_t size = 0;
      error = measure(size);
      if (!error && !lines.still_is(path)) error = std::make_error_code(std::errc::no_such_file_or_directory);
      if (error) break;
      const bool last = size - std::min(size, end) <= kLittle || rounds == kMostRounds;
      if (!last) lock.unlock();
      error = draft.copy(end, size);
      end = size;
      if (!error && last) error = rename_draft();
      if (!error && last) return {};
      if (!last) SLUICE_INSTANT(dead_letters_copied);
    }
    ::unlink(draft_path().c_str());
    return error;
  }

  // The oldest letters, at most so many: those that `take` says it has taken of each bulk are struck off. Lines before
  // them that are no dead letters are set aside.
  template <class Take>
  DeadLettersMoved move(std::size_t at_most, Take take) {
    const std::lock_guard only_one(moving);
    DeadLettersMoved moved;
    std::optional<Lines> lines = begin_move(moved);
    if (!lines) return moved;
    std::size_t bytes = 0;
    while (moved.moved < at_most && moved.error.empty()) {
      const Bulk bulk = next_bulk(*lines, at_most - moved.moved);
      if (bulk.empty()) break;
      if (bulk.damaged_lines > 0) {
        if (const std::error_code error = set_aside(bulk.damaged)) {
          moved.error = "set aside what is no dead letter in " + path.string() + ": " + error.message();
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

  const std::filesystem::path path;
  std::mutex moving;  // held for a whole requeue or drop, before `mutex`: meanwhile the first lines stay the first
  std::mutex mutex;
  LineFile file;       // guarded by mutex; its state directory belongs to one process, so the file needs no lock
  PieceBuffer buffer;  // guarded by mutex
};

DeadLetterFile::DeadLetterFile(const std::filesystem::path& state_dir)
    : impl_(std::make_unique<Impl>(dead_letter_path(state_dir))) {}

DeadLetterFile::~DeadLetterFile() = default;

std::error_code DeadLetterFile::append(std::span<const DeadLetter> letters) {
  if (letters.empty()) return {};
  const std::lock_guard lock(impl_->mutex);
  const LineFile::Outcome outcome = impl_->write(letters);
  if (outcome.failed()) impl_->file.abandon();
  return outcome.error;
}

DeadLettersMoved DeadLetterFile::requeue(std::size_t at_most, const Take& take) {
  return impl_->move(at_most, [&take](const Bulk& bulk, std::string& error) {
    Admit answer = Admit::accepted;
    const std::size_t taken = give(bulk, take, answer);
    if (taken < bulk.entries.size()) error = "the next one is not taken: " + std::string(to_string(answer));
    return taken;
  });
}

DeadLettersMoved DeadLetterFile::drop(std::size_t at_most) {
  return impl_->move(at_most, [](const Bulk& bulk, std::string& /*error*/) { return bulk.entries.size(); });
}

}  // namespace sluice
