// A file, pipe or terminal that lines are appended to, a batch at a time. In a regular file a batch stands whole or not
// at all: what was written of a batch that failed is cut off before anything else is appended, and if even that fails,
// nothing is appended until it has succeeded. From a pipe nothing can be taken back; there the line that a failed
// batch left unfinished is ended first.
// One thread at a time: whoever shares it keeps a lock for the length of a batch.
#pragma once

#include <sys/types.h>

#include <cstdint>
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

  enum class Lines : std::uint8_t {
    json,  // no line has a zero byte in it: one at the end that has is what a power cut left
    any,
  };
  enum class Hold : std::uint8_t {
    alone,   // refuse a file that another process holds alone
    shared,  // no lock on the file: something else sees to that
  };

  // Opens the file or makes it, and cuts a torn last line off. Throws StartError: in_use or io.
  LineFile(std::string path, Lines lines, Hold hold);
  // Standard output, which stays open when this is gone.
  [[nodiscard]] static LineFile standard_output(Lines lines);
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

  // `write PATH: No space left on device`
  [[nodiscard]] std::string text(const Outcome& outcome) const;

  // What an operator should know and no outcome says (a torn line was cut off, the file was opened anew); mostly
  // nothing.
  [[nodiscard]] std::string take_news() { return std::exchange(news_, {}); }

 private:
  LineFile(int descriptor, Lines lines);

  [[nodiscard]] std::string shown_name() const { return path_.empty() ? "standard output" : path_; }
  [[nodiscard]] Outcome open();
  [[nodiscard]] Outcome cut_torn_line(int descriptor, off_t size);
  [[nodiscard]] Outcome cut_back() noexcept;
  [[nodiscard]] Outcome write_to_file(std::string_view piece) noexcept;
  [[nodiscard]] Outcome write_to_stream(std::string_view piece, const std::stop_token& stop) noexcept;
  [[nodiscard]] Outcome sync_name() const;

  const std::string path_;  // empty: standard output
  const Lines lines_;
  const Hold hold_;
  int descriptor_ = -1;
  bool regular_ = false;
  std::string news_;

  std::optional<off_t> whole_;  // regular: where the batch in hand began, behind the last whole one
  bool torn_ = false;           // regular: what is behind `whole_` must go before anything is appended
  bool name_synced_ = false;    // regular: its directory is known to have it
  bool inside_line_ = false;    // stream: the last byte written was no line feed
};

}  // namespace sluice
