// A file, pipe or terminal to which lines are appended, a batch at a time. In a regular file a batch is written whole
// or not at all: a partial batch is cut off before the next one, and while that fails nothing is appended. Bytes that
// another process appended meanwhile are never cut off. Nothing can be taken back from a pipe; there a line that a
// failed batch left unfinished is ended first. One thread at a time: sharers hold a lock for a whole batch.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace sluice {

class LineFile {
 public:
  // The error, and the step that failed; no error means success.
  struct Outcome {
    std::error_code error;
    std::string_view step;

    [[nodiscard]] bool failed() const noexcept { return static_cast<bool>(error); }
  };

  enum class Kind : std::uint8_t {
    events,        // JSON lines; refuses a file that another process has locked, and one that is not lines of text
    raw,           // any lines; refuses a locked file, and a database
    dead_letters,  // JSON lines, in a directory of this process alone; refuses nothing: if the file cannot be opened,
                   // each begin() tries again
  };

  // Opens or creates the file. Cuts off a torn last line of ours; ends a last line of another program with a line feed.
  // Throws StartError: in_use, io or unusable (not lines of text).
  LineFile(std::string path, Kind kind);
  // Standard output, which stays open after this is destroyed.
  [[nodiscard]] static LineFile standard_output(Kind kind);
  LineFile(const LineFile&) = delete;
  LineFile& operator=(const LineFile&) = delete;
  ~LineFile();

  // A batch: begin(), write() for each chunk, finish(); or abandon() at any time, the only call allowed after a
  // failure. begin() reopens a file that was deleted or renamed. A write that must wait (pipes) polls `stop` and then
  // returns `interrupted`, if possible at the end of a line. finish(true) returns once the batch is on disk.
  [[nodiscard]] Outcome begin(const std::stop_token& stop);
  [[nodiscard]] Outcome write(std::string_view chunk, const std::stop_token& stop);
  [[nodiscard]] Outcome finish(bool sync);
  void abandon() noexcept;

  // Between batches: puts every finished batch on disk, also those in a file that was replaced since. A failure
  // concerns all batches since the last success: the system marks the lost pages clean, so a second try would succeed.
  // `held`, the sharers' lock, is unlocked while the disk works. One call at a time, or two would share one failure.
  [[nodiscard]] Outcome sync(std::unique_lock<std::mutex>& held);

  // `write PATH: No space left on device`
  [[nodiscard]] std::string text(const Outcome& outcome) const;

  // True if nothing can be written after this failure, ever: standard output is a pipe whose reader is gone. (A named
  // pipe may get another reader.)
  [[nodiscard]] bool lost_its_reader(const Outcome& outcome) const noexcept {
    return path_.empty() && outcome.error == std::errc::broken_pipe;
  }

  // A message for the operator that no outcome carries (a torn line was cut off, the file was opened anew); mostly
  // empty.
  [[nodiscard]] std::string take_news() { return std::exchange(news_, {}); }

 private:
  LineFile(int descriptor, Kind kind);

  [[nodiscard]] std::string shown_name() const { return path_.empty() ? "standard output" : path_; }
  [[noreturn]] void refuse(const Outcome& outcome) const;
  [[nodiscard]] Outcome open();
  [[nodiscard]] Outcome mend_tail(int descriptor, off_t size);
  [[nodiscard]] Outcome end_foreign_line();
  [[nodiscard]] Outcome cut_off() noexcept;
  [[nodiscard]] Outcome write_to_file(std::string_view chunk) noexcept;
  [[nodiscard]] Outcome write_to_stream(std::string_view chunk, const std::stop_token& stop) noexcept;
  [[nodiscard]] Outcome sync_name() const;
  [[nodiscard]] Outcome sync_file();

  const std::string path_;  // empty: standard output
  const Kind kind_;
  int descriptor_ = -1;
  bool regular_ = false;
  std::string news_;

  // Of a regular file:
  std::optional<off_t> whole_;  // where the current or torn batch began: the end of the last whole one
  off_t written_ = 0;           // bytes written of the current or torn batch
  off_t ended_ = 0;             // the length of the file after our last write
  bool torn_ = false;           // the bytes after `whole_` must be cut off before anything is appended
  bool name_synced_ = false;    // the directory entry is on disk
  bool unsynced_ = false;       // a batch was finished and not synced
  Outcome left_unsynced_;       // the failed sync of a file that was replaced since
  // Of a stream:
  bool inside_line_ = false;  // the last byte written was not a line feed
};

}  // namespace sluice
