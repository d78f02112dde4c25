// A file, pipe or terminal that lines are appended to, a batch at a time. In a regular file a batch stands whole or not
// at all: what was written of a batch that failed is cut off before anything else is appended, and if even that fails,
// nothing is appended until it has succeeded. What somebody else appended meanwhile is never cut. From a pipe nothing
// can be taken back; there the line that a failed batch left unfinished is ended first. One thread at a time: whoever
// shares it keeps a lock for the length of a batch.
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
  // What went wrong, and at which step; nothing did if `error` is empty.
  struct Outcome {
    std::error_code error;
    std::string_view step;

    [[nodiscard]] bool failed() const noexcept { return static_cast<bool>(error); }
  };

  enum class Kind : std::uint8_t {
    events,        // lines of JSON; refuses a file that another process holds, and one that is no text of lines
    raw,           // lines of anything; refuses what is held, and a database
    dead_letters,  // lines of JSON, in a directory that belongs to this process alone; refuses nothing: what cannot be
                   // opened is opened by the first begin() that can
  };

  // Opens the file or makes it. A torn last line of ours is cut off; one that somebody else left without a line feed
  // gets one. Throws StartError: in_use, io or unusable (no text of lines).
  LineFile(std::string path, Kind kind);
  // Standard output, which stays open when this is gone.
  [[nodiscard]] static LineFile standard_output(Kind kind);
  LineFile(const LineFile&) = delete;
  LineFile& operator=(const LineFile&) = delete;
  ~LineFile();

  // A batch: begin, its pieces, finish; or, at any time, abandon. After a failure only abandon may follow.
  // `begin` opens the file anew if it was deleted or renamed. Where a write may have to wait (pipes), it looks at
  // `stop` and then answers `interrupted`, if possible at the end of a line. `finish` with `sync` returns when disk has
  // it.
  [[nodiscard]] Outcome begin(const std::stop_token& stop);
  [[nodiscard]] Outcome write(std::string_view piece, const std::stop_token& stop);
  [[nodiscard]] Outcome finish(bool sync);
  void abandon() noexcept;

  // Between batches: disk has all that was finished by now, whatever file it stands in. A failure takes along what was
  // finished since the last success: the system calls those pages clean, and a second try would succeed. `held`, the
  // lock of who shares the file, is free while the disk works; two of these at a time would share one failure.
  [[nodiscard]] Outcome sync(std::unique_lock<std::mutex>& held);

  // `write PATH: No space left on device`
  [[nodiscard]] std::string text(const Outcome& outcome) const;

  // After this failure nothing can ever be written again: standard output is a pipe whose reader is gone. (A pipe that
  // has a name may get another reader.)
  [[nodiscard]] bool lost_its_reader(const Outcome& outcome) const noexcept {
    return path_.empty() && outcome.error == std::errc::broken_pipe;
  }

  // What an operator should know and no outcome says (a torn line was cut off, the file was opened anew); mostly
  // nothing.
  [[nodiscard]] std::string take_news() { return std::exchange(news_, {}); }

 private:
  LineFile(int descriptor, Kind kind);

  [[nodiscard]] std::string shown_name() const { return path_.empty() ? "standard output" : path_; }
  [[noreturn]] void refuse(const Outcome& outcome) const;
  [[nodiscard]] Outcome open();
  [[nodiscard]] Outcome mend_tail(int descriptor, off_t size);
  [[nodiscard]] Outcome end_foreign_line();
  [[nodiscard]] Outcome cut_back() noexcept;
  [[nodiscard]] Outcome write_to_file(std::string_view piece) noexcept;
  [[nodiscard]] Outcome write_to_stream(std::string_view piece, const std::stop_token& stop) noexcept;
  [[nodiscard]] Outcome sync_name() const;
  [[nodiscard]] Outcome sync_file();

  const std::string path_;  // empty: standard output
  const Kind kind_;
  int descriptor_ = -1;
  bool regular_ = false;
  std::string news_;

  std::optional<off_t> whole_;  // regular: where the batch in hand began, behind the last whole one
  off_t written_ = 0;           // regular: of the batch in hand, or of the one that is torn
  off_t ended_ = 0;             // regular: how long the file was when we last wrote to it
  bool torn_ = false;           // regular: what is behind `whole_` must go before anything is appended
  bool name_synced_ = false;    // regular: its directory is known to have it
  bool unsynced_ = false;       // regular: a batch was finished, and not synced
  Outcome left_unsynced_;       // why what was finished in a file that was let go since is on no disk, perhaps
  bool inside_line_ = false;    // stream: the last byte written was no line feed
};

}  // namespace sluice
