// Opening, appending, syncing, cutting off. See the header.
#include "sinks/line_file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <utility>

#include "sinks/descriptor.h"
#include "sinks/file_id.h"
#include "sinks/line_tail.h"
#include "sluice/error.h"

namespace sluice {

namespace {

using Outcome = LineFile::Outcome;

// PIPE_BUF: so much a pipe takes without blocking once poll() reports it writable.
constexpr std::size_t kMaxUnblocked = 4096;

// How often a writer whose reader does not read checks for a stop.
constexpr std::chrono::milliseconds kPollStop{50};

Outcome failure(std::string_view step, int error = errno) {
  return {std::error_code(error, std::generic_category()), step};
}

bool same_file(int one, int other) noexcept {
  struct ::stat first {
  }, second{};
  return ::fstat(one, &first) == 0 && ::fstat(other, &second) == 0 && FileId(first) == FileId(second);
}

// Opens the same file for reading, because ours may be write-only. By its name if that still leads to it: /proc may not
// be mounted, and only standard output should need it.
Descriptor reader_of(const std::string& path, int descriptor) {
  constexpr int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  int reader = path.empty() ? -1 : ::open(path.c_str(), flags);
  if (reader >= 0 && !same_file(reader, descriptor)) {
    ::close(reader);
    reader = -1;
  }
  if (reader < 0) reader = ::open(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), flags);
  return Descriptor(reader);
}

constexpr auto kNoText = std::errc::illegal_byte_sequence;

}  // namespace

LineFile::LineFile(std::string path, Kind kind) : path_(std::move(path)), kind_(kind) {
  const Outcome opened = open();
  if (opened.failed() && kind_ != Kind::dead_letters) refuse(opened);
}

LineFile::LineFile(int descriptor, Kind kind) : kind_(kind), descriptor_(descriptor) {
  struct ::stat status {};
  if (::fstat(descriptor_, &status) != 0) refuse(failure("open"));
  regular_ = S_ISREG(status.st_mode);
  if (!regular_) return;
  // A shell opens `>file` without O_APPEND. Other writers of it (standard error, the next command) profit as well.
  const int flags = ::fcntl(descriptor_, F_GETFL);
  if (flags < 0 || ::fcntl(descriptor_, F_SETFL, flags | O_APPEND) != 0) refuse(failure("open"));
  if (const Outcome mended = mend_tail(descriptor_, status.st_size); mended.failed()) refuse(mended);
}

LineFile LineFile::standard_output(Kind kind) { return {STDOUT_FILENO, kind}; }

void LineFile::refuse(const Outcome& outcome) const {
  if (outcome.error == std::errc::operation_would_block) {
    throw StartError(StartError::Kind::in_use, text(outcome) + " (another process writes to it)");
  }
  throw StartError(outcome.error == kNoText ? StartError::Kind::unusable : StartError::Kind::io, text(outcome));
}

LineFile::~LineFile() {
  if (!path_.empty() && descriptor_ >= 0) ::close(descriptor_);
}

Outcome LineFile::open() {
  // O_NONBLOCK: opening a pipe without a reader fails at once instead of blocking. No effect on regular files.
  Descriptor opened(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                           S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH));
  if (opened.get() < 0) return failure("open");
  struct ::stat status {};
  if (::fstat(opened.get(), &status) != 0) return failure("open");
  const bool regular = S_ISREG(status.st_mode);
  if (regular) {
    if (kind_ != Kind::dead_letters && ::flock(opened.get(), LOCK_EX | LOCK_NB) != 0) return failure("lock");
    // Only with the lock may it be cut, and is its length final.
    if (::fstat(opened.get(), &status) != 0) return failure("open");
    if (const Outcome mended = mend_tail(opened.get(), status.st_size); mended.failed()) return mended;
  }
  if (unsynced_) {  // it was renamed or deleted, and sync() will not reach it any more
    if (const Outcome synced = sync_file(); synced.failed()) left_unsynced_ = synced;
  }
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = opened.release();
  regular_ = regular;
  whole_.reset();
  torn_ = name_synced_ = inside_line_ = false;
  return {};
}

// Makes the file end with a whole line.
Outcome LineFile::mend_tail(int descriptor, off_t size) {
  LineTail tail;
  if (size > 0) {
    const Descriptor reader = reader_of(path_, descriptor);
    if (reader.get() < 0 && !path_.empty()) return failure("read");
    const auto find = kind_ == Kind::raw ? find_raw_tail : find_json_tail;
    if (reader.get() < 0) {
      tail.kind = LineTail::foreign;  // it cannot be read: begin a new line in any case
    } else if (const std::error_code error = find(reader.get(), size, tail)) {
      return {error, "read"};
    }
  }
  if (tail.kind == LineTail::torn) {
    if (::ftruncate(descriptor, tail.end) != 0) return failure("cut");
    news_ = "cut a torn line off the end of " + shown_name() + ": " + std::to_string(size - tail.end) + " bytes";
    size = tail.end;
  }
  if (tail.kind == LineTail::no_text && kind_ != Kind::dead_letters) return failure("open", EILSEQ);
  if (tail.kind == LineTail::foreign || tail.kind == LineTail::no_text) {
    if (::write(descriptor, "\n", 1) != 1) return failure("write");
    news_ = "ended the last line of " + shown_name() + ", which is not known to be ours";
    ++size;
  }
  ended_ = size;
  return {};
}

Outcome LineFile::begin(const std::stop_token& stop) {
  if (descriptor_ < 0) {
    if (const Outcome opened = open(); opened.failed()) return opened;
  }
  const Outcome cut = torn_ ? cut_off() : Outcome{};
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
    written_ = 0;
    return *whole_ > 0 && *whole_ != ended_ ? end_foreign_line() : Outcome{};
  }
  return inside_line_ ? write_to_stream("\n", stop) : Outcome{};
}

// Another program has appended: if its last line has no end, end it, so that ours does not become a part of it.
Outcome LineFile::end_foreign_line() {
  const Descriptor reader = reader_of(path_, descriptor_);
  char last = '\n';
  if (reader.get() >= 0 && ::pread(reader.get(), &last, 1, *whole_ - 1) == 1 && last != '\n')
    return write_to_file("\n");
  return {};
}

Outcome LineFile::write(std::string_view chunk, const std::stop_token& stop) {
  return regular_ ? write_to_file(chunk) : write_to_stream(chunk, stop);
}

Outcome LineFile::write_to_file(std::string_view chunk) noexcept {
  assert(!torn_ && "a chunk was written behind a torn batch");
  while (!chunk.empty()) {
    const ssize_t n = ::write(descriptor_, chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return failure("write", n < 0 ? errno : EIO);
    written_ += n;
    chunk.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Outcome LineFile::write_to_stream(std::string_view chunk, const std::stop_token& stop) noexcept {
  while (!chunk.empty()) {
    const bool stopping = stop.stop_requested();
    if (stopping && !inside_line_) return failure("write", EINTR);
    struct ::pollfd ready {
      descriptor_, POLLOUT, 0
    };
    const int n_ready = ::poll(&ready, 1, stopping ? 0 : static_cast<int>(kPollStop.count()));
    if (n_ready < 0 && errno != EINTR) return failure("write");
    if (n_ready <= 0) {
      if (stopping) return failure("write", EINTR);
      continue;
    }
    // In a stop only the current line is finished.
    const std::size_t line = stopping ? chunk.find('\n') : std::string_view::npos;
    const std::size_t most = line == std::string_view::npos ? kMaxUnblocked : std::min(line + 1, kMaxUnblocked);
    const ssize_t n = ::write(descriptor_, chunk.data(), std::min(chunk.size(), most));
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0) return failure("write", n < 0 ? errno : EIO);
    inside_line_ = chunk[static_cast<std::size_t>(n) - 1] != '\n';
    chunk.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Outcome LineFile::finish(bool sync) {
  if (sync && regular_) {
    if (const Outcome synced = sync_file(); synced.failed()) return synced;
  }
  if (whole_) ended_ = *whole_ + written_;
  unsynced_ = regular_ && !sync;
  whole_.reset();
  return {};
}

Outcome LineFile::sync(std::unique_lock<std::mutex>& held) {
  Outcome outcome;
  if (unsynced_) {
    unsynced_ = false;
    if (!name_synced_) outcome = sync_name();
    name_synced_ = !outcome.failed();
    const Descriptor same(::fcntl(descriptor_, F_DUPFD_CLOEXEC, 0));
    if (same.get() >= 0) held.unlock();
    const int error = ::fdatasync(same.get() >= 0 ? same.get() : descriptor_) == 0 ? 0 : errno;
    if (same.get() >= 0) held.lock();
    if (error != 0) outcome = failure("sync", error);
  }
  // Read last: while unlocked, begin() may have replaced the file and stored a failure.
  const Outcome left = std::exchange(left_unsynced_, {});
  return outcome.failed() ? outcome : left;
}

Outcome LineFile::sync_file() {
  unsynced_ = false;
  if (::fdatasync(descriptor_) != 0) return failure("sync");
  if (!name_synced_) {
    if (const Outcome synced = sync_name(); synced.failed()) return synced;
    name_synced_ = true;
  }
  return {};
}

Outcome LineFile::sync_name() const {
  if (path_.empty()) return {};  // that file was created by whoever opened standard output
  std::filesystem::path directory = std::filesystem::path(path_).parent_path();
  if (directory.empty()) directory = ".";
  const Descriptor opened(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // A directory that we may enter but not read cannot be synced, and there is no other way.
  if (opened.get() < 0) return errno == EACCES ? Outcome{} : failure("sync directory of");
  // EINVAL: the file system does not sync directories.
  if (::fsync(opened.get()) != 0 && errno != EINVAL) return failure("sync directory of");
  return {};
}

void LineFile::abandon() noexcept {
  if (!whole_) return;
  torn_ = true;
  // If this fails the batch stays torn; the next begin() tries again and returns the error.
  static_cast<void>(cut_off());
}

Outcome LineFile::cut_off() noexcept {
  struct ::stat status {};
  if (::fstat(descriptor_, &status) != 0) return failure("cut back");
  ended_ = *whole_;
  if (status.st_size > *whole_ + written_) {
    // Another process appended, perhaps after the torn part. Its bytes stay, and the next batch ends the line first.
    news_ = "a torn line stays in " + shown_name() + ": somebody else writes to it as well";
  } else if (status.st_size > *whole_ && ::ftruncate(descriptor_, *whole_) != 0) {
    return failure("cut back");  // a file that another process cut shorter is not extended
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
  if (outcome.error == std::errc::interrupted) {
    line += "stopped while nobody reads";
  } else {
    line +=
        outcome.error == kNoText ? "this is no text of lines, and nothing is appended to it" : outcome.error.message();
  }
  return line;
}

}  // namespace sluice
