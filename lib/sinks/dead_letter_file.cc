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

#include "sinks/dead_letter_entry.h"
#include "sinks/file_id.h"
#include "sinks/json_line.h"
#include "sinks/line_file.h"
#include "sinks/pieces.h"

namespace sluice {

namespace {

// A bulk of requeued events.
constexpr std::size_t kBulkEvents = 64;
constexpr std::size_t kBulkBytes = std::size_t{1} << 20U;

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
    line_.clear();
    while (!error_) {
      const std::size_t end = waiting_.find('\n');
      line_ += waiting_.substr(0, end);
      if (end != std::string_view::npos) {
        waiting_.remove_prefix(end + 1);
        offset_ += line_.size() + 1;
        return line_;
      }
      error_ = file_.read(std::span(chunk_).first(std::min(chunk_.size(), end_ - read_)), waiting_);
      read_ += waiting_.size();
      if (waiting_.empty()) return std::nullopt;
    }
    return std::nullopt;
  }

  // Behind the last line.
  [[nodiscard]] std::size_t offset() const noexcept { return offset_; }
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
  std::size_t offset_ = 0;
  std::error_code error_;
};

}  // namespace

struct DeadLetterFile::Impl {
  explicit Impl(const std::filesystem::path& path_to_it)
      : path(path_to_it), file(path.string(), LineFile::Lines::json, LineFile::Hold::shared) {}

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

  // The first `bytes` of the file go; `mutex` is held, and it was measured.
  std::error_code strike(std::size_t bytes) const {
    const std::filesystem::path draft = path.string() + ".draft";
    std::error_code error = copy_behind(bytes, draft);
    if (!error && ::rename(draft.c_str(), path.c_str()) != 0) error = last_error();
    if (error) {
      ::unlink(draft.c_str());
      return error;
    }
    const Plain directory(path.parent_path().empty() ? "." : path.parent_path(), O_RDONLY | O_DIRECTORY);
    // One that may be entered but not read cannot be synced by us, nor is there another way.
    if (!directory.is_open()) return errno == EACCES ? std::error_code{} : last_error();
    return ::fsync(directory.get()) == 0 || errno == EINVAL ? std::error_code{} : last_error();
  }

  std::error_code copy_behind(std::size_t bytes, const std::filesystem::path& draft) const {
    const Plain from(path, O_RDONLY);
    if (!from.is_open()) return last_error();
    const Plain to(draft, O_WRONLY | O_CREAT | O_TRUNC);
    if (!to.is_open()) return last_error();
    struct ::stat now {};
    // Who may read it stays who may read it.
    if (::fstat(from.get(), &now) != 0 || ::fchmod(to.get(), now.st_mode & 0777U) != 0) return last_error();
    if (::lseek(from.get(), static_cast<off_t>(bytes), SEEK_SET) < 0) return last_error();
    std::vector<char> chunk(std::size_t{64} << 10U);
    for (std::string_view got;;) {
      if (const std::error_code error = from.read(chunk, got)) return error;
      if (got.empty()) return ::fdatasync(to.get()) == 0 ? std::error_code{} : last_error();
      if (const std::error_code error = to.write(got)) return error;
    }
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
    const std::lock_guard lock(mutex);
    std::size_t size = 0;
    std::error_code error = measure(size);
    if (!error && !lines.still_is(path)) error = std::make_error_code(std::errc::no_such_file_or_directory);
    if (!error) {
      // Of those that were there at first: what was refused once more meanwhile is not asked for again and again.
      while (lines.next()) ++moved.left;
      error = lines.error();
    }
    if (!error && bytes > 0) error = strike(bytes);
    if (error) moved.error = "strike dead letters off " + path.string() + ": " + error.message();
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

namespace {

// Entries on their way, and where in the file each ends.
struct Bulk {
  std::vector<DeadLetterEntry> entries;
  std::vector<std::size_t> ends;
  bool at_no_dead_letter = false;  // behind them comes a line that is none
};

Bulk next_bulk(Lines& lines, std::size_t at_most) {
  Bulk bulk;
  std::size_t bytes = 0;
  while (bulk.entries.size() < std::min(kBulkEvents, at_most) && bytes < kBulkBytes) {
    const auto line = lines.next();
    if (!line) break;
    auto entry = parse_dead_letter(*line);
    if (!entry) {
      bulk.at_no_dead_letter = true;
      break;
    }
    entry->content_type = requeued_type(*entry);
    bytes += entry->payload.size();
    bulk.entries.push_back(*std::move(entry));
    bulk.ends.push_back(lines.offset());
  }
  return bulk;
}

// How many of them were taken, the first ones: all at once, or one by one where all are too many.
std::size_t give(const Bulk& bulk, const DeadLetterFile::Take& take, Admit& answer) {
  std::vector<Event> events;
  for (const DeadLetterEntry& entry : bulk.entries) events.push_back(event_of(entry.payload, entry.content_type));
  answer = take(events);
  if (answer == Admit::accepted) return events.size();
  if (answer != Admit::full && answer != Admit::too_large) return 0;
  std::size_t taken = 0;
  while (taken < events.size() && (answer = take(std::span(events).subspan(taken, 1))) == Admit::accepted) ++taken;
  return taken;
}

}  // namespace

DeadLettersMoved DeadLetterFile::requeue(std::size_t at_most, const Take& take) {
  const std::lock_guard only_one(impl_->moving);
  DeadLettersMoved moved;
  std::optional<Lines> lines = impl_->begin_move(moved);
  if (!lines) return moved;
  std::size_t bytes = 0;
  while (moved.moved < at_most && moved.error.empty()) {
    const Bulk bulk = next_bulk(*lines, at_most - moved.moved);
    Admit answer = Admit::accepted;
    const std::size_t taken = bulk.entries.empty() ? 0 : give(bulk, take, answer);
    if (taken > 0) bytes = bulk.ends[taken - 1];
    moved.moved += taken;
    moved.left = bulk.entries.size() - taken + (bulk.at_no_dead_letter ? 1 : 0);
    if (taken < bulk.entries.size()) {
      moved.error = "the next one is not taken: " + std::string(to_string(answer));
    } else if (bulk.at_no_dead_letter) {
      moved.error = "the next line of " + impl_->path.string() + " is no dead letter";
    } else if (bulk.entries.empty()) {
      break;
    }
  }
  impl_->finish_move(moved, bytes, *lines);
  return moved;
}

DeadLettersMoved DeadLetterFile::drop(std::size_t at_most) {
  const std::lock_guard only_one(impl_->moving);
  DeadLettersMoved moved;
  std::optional<Lines> lines = impl_->begin_move(moved);
  if (!lines) return moved;
  while (moved.moved < at_most && lines->next()) ++moved.moved;
  impl_->finish_move(moved, lines->offset(), *lines);
  return moved;
}

}  // namespace sluice
