// See the header.
#include "sinks/dead_letter_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <stop_token>
#include <string_view>
#include <vector>

#include "admission/instant.h"
#include "sinks/descriptor.h"
#include "sinks/json_line.h"

namespace sluice {

namespace {

// The most bytes that are copied with the lock held; that takes about as long as a worker's own sync.
constexpr std::size_t kMaxLockedCopy = std::size_t{1} << 20U;
// Ends the unlocked rounds if workers append faster than this copies.
constexpr int kMaxRounds = 100;

std::error_code file_changed() { return std::make_error_code(std::errc::no_such_file_or_directory); }

// The rest of the file, which replaces it.
class Draft {
 public:
  Draft(const std::filesystem::path& from, const std::filesystem::path& to)
      : from_(::open(from.c_str(), O_RDONLY | O_CLOEXEC)),
        to_(::open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {
    if (!from_.is_open() || !to_.is_open()) {
      error_ = last_error();
      return;
    }
    struct ::stat now {};  // the draft keeps the permissions
    if (::fstat(from_.get(), &now) != 0 || ::fchmod(to_.get(), now.st_mode & 0777U) != 0) error_ = last_error();
  }
  [[nodiscard]] const std::error_code& error() const noexcept { return error_; }

  // Appends the bytes of the file from `begin` to `end`, and syncs.
  [[nodiscard]] std::error_code copy(std::size_t begin, std::size_t end) const {
    if (::lseek(from_.get(), static_cast<off_t>(begin), SEEK_SET) < 0) return last_error();
    std::vector<char> chunk(std::size_t{64} << 10U);
    for (std::string_view got; begin < end; begin += got.size()) {
      if (const std::error_code error = from_.read(std::span(chunk).first(std::min(chunk.size(), end - begin)), got))
        return error;
      if (got.empty()) return std::make_error_code(std::errc::io_error);  // another process cut it
      if (const std::error_code error = to_.write(got)) return error;
    }
    return ::fdatasync(to_.get()) == 0 ? std::error_code{} : last_error();
  }

 private:
  Descriptor from_, to_;
  std::error_code error_;
};

}  // namespace

DeadLetterLog::DeadLetterLog(const std::filesystem::path& path)
    : path_(path), file_(path.string(), LineFile::Kind::dead_letters) {}

std::error_code DeadLetterLog::append(std::span<const DeadLetter> letters) {
  const std::lock_guard lock(mutex_);
  const LineFile::Outcome outcome = write(letters);
  if (outcome.failed()) file_.abandon();
  return outcome.error;
}

// mutex_ is held.
LineFile::Outcome DeadLetterLog::write(std::span<const DeadLetter> letters) {
  // A stop must not interrupt this: the disk answers, or the process ends without this worker.
  const std::stop_token never;
  LineFile::Outcome outcome = file_.begin(never);
  if (outcome.failed()) return outcome;
  ChunkWriter out(buffer_, [&](std::string_view chunk) {
    outcome = file_.write(chunk, never);
    return !outcome.failed();
  });
  for (const DeadLetter& letter : letters) put_dead_letter(out, letter);
  return out.flush() ? file_.finish(/*sync=*/true) : outcome;
}

std::error_code DeadLetterLog::size(std::size_t& size) {
  const std::lock_guard lock(mutex_);
  return measure(size);
}

// Cuts off a partial batch first, so that what is measured once stays as it is. mutex_ is held.
std::error_code DeadLetterLog::measure(std::size_t& size) {
  const std::stop_token never;
  const LineFile::Outcome outcome = file_.begin(never);
  file_.abandon();
  if (outcome.failed()) return outcome.error;
  struct ::stat now {};
  if (::stat(path_.c_str(), &now) != 0) return last_error();
  size = static_cast<std::size_t>(now.st_size);
  return {};
}

std::error_code DeadLetterLog::remove_front(std::size_t bytes, const LineReader& lines) {
  return bytes > 0 ? copy_rest(bytes, lines) : check_same(lines);
}

std::error_code DeadLetterLog::check_same(const LineReader& lines) {
  const std::lock_guard lock(mutex_);
  std::size_t size = 0;
  if (const std::error_code error = measure(size)) return error;
  return lines.still_is(path_) ? std::error_code{} : file_changed();
}

std::error_code DeadLetterLog::copy_rest(std::size_t bytes, const LineReader& lines) {
  Draft draft(path_, draft_path());
  std::error_code error = draft.error();
  std::size_t end = bytes;
  for (int rounds = 0; !error; ++rounds) {
    std::unique_lock lock(mutex_);
    std::size_t size = 0;
    error = measure(size);
    if (!error && !lines.still_is(path_)) error = file_changed();
    if (error) break;
    const bool last = size - std::min(size, end) <= kMaxLockedCopy || rounds == kMaxRounds;
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

// Replaces the file by the draft, durably. mutex_ is held.
std::error_code DeadLetterLog::rename_draft() const {
  if (::rename(draft_path().c_str(), path_.c_str()) != 0) return last_error();
  const std::filesystem::path parent = path_.parent_path().empty() ? "." : path_.parent_path();
  const Descriptor directory(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // A directory that we may enter but not read cannot be synced, and there is no other way.
  if (!directory.is_open()) return errno == EACCES ? std::error_code{} : last_error();
  return ::fsync(directory.get()) == 0 || errno == EINVAL ? std::error_code{} : last_error();
}

}  // namespace sluice
