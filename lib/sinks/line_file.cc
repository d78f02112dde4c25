// Opening, appending and cutting back. See the header for the contract.
#include "sinks/line_file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <utility>

#include "sinks/file_id.h"
#include "sluice/error.h"

namespace sluice {

namespace {

using Outcome = LineFile::Outcome;

// After poll() has said that a pipe takes something, this much (PIPE_BUF) goes in without waiting.
constexpr std::size_t kNeverWaits = 4096;

// How late a stop is noticed by a writer whose reader does not read.
constexpr std::chrono::milliseconds kLook{50};

Outcome failure(std::string_view step, int error = errno) {
  return {std::error_code(error, std::generic_category()), step};
}

// A file descriptor with one owner.
class Descriptor {
 public:
  explicit Descriptor(int number) noexcept : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  [[nodiscard]] int get() const noexcept { return number_; }
  [[nodiscard]] int release() noexcept { return std::exchange(number_, -1); }

 private:
  int number_;
};

// Looks for the end of the last whole line, backwards, a chunk at a time: behind a line feed, and, where zero bytes are
// no part of any line, such that the line before it has none.
class LastWholeLine {
 public:
  explicit LastWholeLine(bool zeros_are_debris) noexcept : zeros_are_debris_(zeros_are_debris) {}

  // Looks at the chunk that begins at `offset`; true once the end is known.
  bool look(std::string_view chunk, off_t offset) noexcept {
    for (std::size_t i = chunk.size(); i-- > 0;) {
      if (chunk[i] == '\n') {
        if (end_ > 0 && !debris_) return true;
        end_ = offset + static_cast<off_t>(i) + 1;
        debris_ = false;
        if (!zeros_are_debris_) return true;
      } else if (chunk[i] == '\0') {
        debris_ = zeros_are_debris_;
      }
    }
    return false;
  }
  // After the whole file was looked at, or look() was true.
  [[nodiscard]] off_t end() const noexcept { return debris_ ? 0 : end_; }

 private:
  bool zeros_are_debris_;
  bool debris_ = false;  // the line that ends at `end_` has a zero byte
  off_t end_ = 0;
};

}  // namespace

LineFile::LineFile(std::string path, Lines lines, Hold hold) : path_(std::move(path)), lines_(lines), hold_(hold) {
  const Outcome opened = open();
  if (!opened.failed()) return;
  const bool in_use = opened.error == std::errc::operation_would_block;
  throw StartError(in_use ? StartError::Kind::in_use : StartError::Kind::io,
                   in_use ? text(opened) + " (another process writes to it)" : text(opened));
}

LineFile::LineFile(int descriptor, Lines lines) : lines_(lines), hold_(Hold::shared), descriptor_(descriptor) {
  struct ::stat status {};
  if (::fstat(descriptor_, &status) != 0) throw StartError(StartError::Kind::io, text(failure("open")));
  regular_ = S_ISREG(status.st_mode);
  if (!regular_) return;
  // A shell opens `>file` without O_APPEND; who shares it with us (standard error, the next command) gains by it too.
  const int flags = ::fcntl(descriptor_, F_GETFL);
  if (flags < 0 || ::fcntl(descriptor_, F_SETFL, flags | O_APPEND) != 0) {
    throw StartError(StartError::Kind::io, text(failure("open")));
  }
  const Outcome cut = cut_torn_line(descriptor_, status.st_size);
  if (cut.failed()) throw StartError(StartError::Kind::io, text(cut));
}

LineFile LineFile::standard_output(Lines lines) { return {STDOUT_FILENO, lines}; }

LineFile::~LineFile() {
  if (!path_.empty() && descriptor_ >= 0) ::close(descriptor_);
}

Outcome LineFile::open() {
  // Not blocking: a pipe that nobody reads is an error at once and not a start that hangs. Regular files do not care.
  Descriptor opened(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                           S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH));
  if (opened.get() < 0) return failure("open");
  struct ::stat status {};
  if (::fstat(opened.get(), &status) != 0) return failure("open");
  const bool regular = S_ISREG(status.st_mode);
  if (regular) {
    if (hold_ == Hold::alone && ::flock(opened.get(), LOCK_EX | LOCK_NB) != 0) return failure("lock");
    // Only now is it ours to cut, and of the length that it will keep.
    if (::fstat(opened.get(), &status) != 0) return failure("open");
    if (const Outcome cut = cut_torn_line(opened.get(), status.st_size); cut.failed()) return cut;
  }
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = opened.release();
  regular_ = regular;
  whole_.reset();
  torn_ = name_synced_ = inside_line_ = false;
  return {};
}

// Cuts off what is behind the last whole line.
Outcome LineFile::cut_torn_line(int descriptor, off_t size) {
  // The file may be open for writing alone, so it is read by a descriptor of its own.
  const std::string same_file = "/proc/self/fd/" + std::to_string(descriptor);
  const Descriptor reader(::open(same_file.c_str(), O_RDONLY | O_CLOEXEC));
  if (reader.get() < 0) return failure("read");
  std::array<char, 16384> chunk;
  LastWholeLine last(lines_ == Lines::json);
  off_t offset = size;
  bool found = false;
  while (!found && offset > 0) {
    const off_t end = offset;
    offset = std::max<off_t>(0, end - static_cast<off_t>(chunk.size()));
    for (off_t at = offset; at < end;) {
      const ssize_t n = ::pread(reader.get(), chunk.data() + (at - offset), static_cast<std::size_t>(end - at), at);
      if (n == 0) return failure("read", EIO);  // somebody else cuts it at this moment
      if (n < 0 && errno != EINTR) return failure("read");
      if (n > 0) at += n;
    }
    found = last.look({chunk.data(), static_cast<std::size_t>(end - offset)}, offset);
  }
  if (last.end() == size) return {};
  if (::ftruncate(descriptor, last.end()) != 0) return failure("cut");
  news_ = "cut a torn line off the end of " + shown_name() + ": " + std::to_string(size - last.end()) + " bytes";
  return {};
}

Outcome LineFile::begin(const std::stop_token& stop) {
  const Outcome cut = torn_ ? cut_back() : Outcome{};
  struct ::stat status {};
  if (::fstat(descriptor_, &status) != 0) return failure("write");
  if (!path_.empty() && FileId::of(path_) != FileId(status)) {
    if (const Outcome opened = open(); opened.failed()) return opened;
    if (news_.empty()) news_ = "opened " + path_ + " anew: it was deleted or renamed";
    if (::fstat(descriptor_, &status) != 0) return failure("write");
  } else if (cut.failed()) {
    return cut;
  }
  if (regular_) {
    whole_ = status.st_size;
    return {};
  }
  return inside_line_ ? write_to_stream("\n", stop) : Outcome{};
}

Outcome LineFile::write(std::string_view piece, const std::stop_token& stop) {
  return regular_ ? write_to_file(piece) : write_to_stream(piece, stop);
}

Outcome LineFile::write_to_file(std::string_view piece) noexcept {
  assert(!torn_ && "a piece was written behind a torn batch");
  while (!piece.empty()) {
    const ssize_t n = ::write(descriptor_, piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return failure("write", n < 0 ? errno : EIO);
    piece.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Outcome LineFile::write_to_stream(std::string_view piece, const std::stop_token& stop) noexcept {
  while (!piece.empty()) {
    const bool stopping = stop.stop_requested();
    if (stopping && !inside_line_) return failure("write", EINTR);
    struct ::pollfd ready {
      descriptor_, POLLOUT, 0
    };
    const int n_ready = ::poll(&ready, 1, stopping ? 0 : static_cast<int>(kLook.count()));
    if (n_ready < 0 && errno != EINTR) return failure("write");
    if (n_ready <= 0) {
      if (stopping) return failure("write", EINTR);
      continue;
    }
    // At a stop only the line that was begun is finished.
    const std::size_t line = stopping ? piece.find('\n') : std::string_view::npos;
    const std::size_t most = line == std::string_view::npos ? kNeverWaits : std::min(line + 1, kNeverWaits);
    const ssize_t n = ::write(descriptor_, piece.data(), std::min(piece.size(), most));
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0) return failure("write", n < 0 ? errno : EIO);
    inside_line_ = piece[static_cast<std::size_t>(n) - 1] != '\n';
    piece.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Outcome LineFile::finish(bool sync) {
  if (sync && regular_) {
    if (::fdatasync(descriptor_) != 0) return failure("sync");
    if (!name_synced_) {
      if (const Outcome synced = sync_name(); synced.failed()) return synced;
      name_synced_ = true;
    }
  }
  whole_.reset();
  return {};
}

Outcome LineFile::sync_name() const {
  if (path_.empty()) return {};  // whoever opened standard output for us made that file
  std::filesystem::path directory = std::filesystem::path(path_).parent_path();
  if (directory.empty()) directory = ".";
  const Descriptor opened(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // A directory that may be entered but not read cannot be synced by us, nor is there another way.
  if (opened.get() < 0) return errno == EACCES ? Outcome{} : failure("sync directory of");
  // Some file systems have nothing to sync there and say so.
  if (::fsync(opened.get()) != 0 && errno != EINVAL) return failure("sync directory of");
  return {};
}

void LineFile::abandon() noexcept {
  if (!whole_) return;
  torn_ = true;
  // If it fails it stays torn, and the next begin() tries again and says why.
  static_cast<void>(cut_back());
}

Outcome LineFile::cut_back() noexcept {
  struct ::stat status {};
  if (::fstat(descriptor_, &status) != 0) return failure("cut back");
  // One that somebody else has cut shorter must not be made longer.
  if (status.st_size > *whole_ && ::ftruncate(descriptor_, *whole_) != 0) {
    return failure("cut back");
  }
  torn_ = false;
  whole_.reset();
  return {};
}

std::string LineFile::text(const Outcome& outcome) const {
  std::string line(outcome.step);
  line += ' ';
  line += shown_name();
  line += ": ";
  line += outcome.error == std::errc::interrupted ? "stopped while nobody reads" : outcome.error.message();
  return line;
}

}  // namespace sluice
