// See the header. Read from find_json_tail() up.
#include "sinks/line_tail.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <string>

#include "text/json_check.h"

namespace sluice {

namespace {

constexpr off_t kChunk = 16384;
// A longer torn line is not examined, and stays.
constexpr off_t kMaxLooked = off_t{64} << 20U;

constexpr std::string_view kSqlite{"SQLite format 3\0", 16};

// Reads a file, and keeps the first error; after that it reads nothing.
class Source {
 public:
  Source(int descriptor, off_t size) noexcept : descriptor_(descriptor), size_(size) {}

  // At most `max` bytes from `begin` on, up to `end`.
  std::string read(off_t begin, off_t end, off_t max) {
    std::string bytes(static_cast<std::size_t>(std::min(end - begin, max)), '\0');
    for (std::size_t have = 0; !error_ && have < bytes.size();) {
      const ssize_t n =
          ::pread(descriptor_, bytes.data() + have, bytes.size() - have, begin + static_cast<off_t>(have));
      if (n > 0) have += static_cast<std::size_t>(n);
      if (n < 0 && errno != EINTR) error_ = {errno, std::generic_category()};
      if (n == 0) error_ = std::make_error_code(std::errc::io_error);  // another process cut the file meanwhile
    }
    if (error_) bytes.clear();
    return bytes;
  }

  // Passes the bytes before `end` to `look`, the last chunk first, until `look` returns true.
  template <class Look>
  void backwards(off_t end, Look look) {
    while (end > 0 && !error_) {
      const off_t begin = std::max<off_t>(0, end - kChunk);
      if (look(std::string_view(read(begin, end, kChunk)), begin)) return;
      end = begin;
    }
  }

  [[nodiscard]] off_t size() const noexcept { return size_; }
  [[nodiscard]] const std::error_code& error() const noexcept { return error_; }

 private:
  int descriptor_;
  off_t size_;
  std::error_code error_;
};

// The end of the last line that has no zero byte; 0 if there is none.
off_t end_of_last_line(Source& file) {
  off_t end = 0;
  bool debris = false;  // the line that ends at `end` has a zero byte
  file.backwards(file.size(), [&](std::string_view chunk, off_t begin) {
    for (std::size_t i = chunk.size(); i-- > 0;) {
      if (chunk[i] == '\n') {
        if (end > 0 && !debris) return true;
        end = begin + static_cast<off_t>(i) + 1;
        debris = false;
      } else if (chunk[i] == '\0') {
        debris = true;
      }
    }
    return false;
  });
  return debris ? 0 : end;
}

// The beginning of the line that ends, with its line feed, at `end`.
off_t begin_of_line(Source& file, off_t end) {
  off_t begin = 0;
  file.backwards(end - 1, [&](std::string_view chunk, off_t offset) {
    const std::size_t at = chunk.rfind('\n');
    if (at != std::string_view::npos) begin = offset + static_cast<off_t>(at) + 1;
    return at != std::string_view::npos;
  });
  return begin;
}

bool only_zeros(Source& file, off_t begin) {
  bool zeros = true;
  file.backwards(file.size(), [&](std::string_view chunk, off_t offset) {
    if (offset < begin) chunk.remove_prefix(static_cast<std::size_t>(begin - offset));
    zeros = chunk.find_first_not_of('\0') == std::string_view::npos;
    return !zeros || offset <= begin;
  });
  return zeros;
}

// Text has no zero bytes in any encoding with one-byte line feeds; nearly all binary files have some at the beginning.
bool is_text(std::string_view bytes) noexcept { return bytes.find('\0') == std::string_view::npos; }

// A CloudEvent is written as it came, so it is a line of ours as well.
bool is_ours(std::string_view line) noexcept {
  return begins_like_ours(line) || (line.starts_with('{') && line.find("\"specversion\"") != std::string_view::npos);
}

}  // namespace

bool begins_like_ours(std::string_view line) noexcept {
  constexpr std::string_view kForm = R"({"id":"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx-9)";
  if (line.size() < kForm.size()) return false;
  return std::ranges::equal(line.substr(0, kForm.size()), kForm, [](char c, char form) {
    const bool digit = c >= '0' && c <= '9';
    return form == 'x' ? digit || (c >= 'a' && c <= 'f') : form == '9' ? digit : c == form;
  });
}

std::error_code find_json_tail(int descriptor, off_t size, LineTail& found) {
  Source file(descriptor, size);
  found = {LineTail::whole, end_of_last_line(file)};
  const off_t end = found.end;
  if (!is_text(file.read(0, end, kChunk))) {
    found.kind = LineTail::no_text;
  } else if (end < size) {
    const bool after_ours = end > 0 && is_ours(file.read(begin_of_line(file, end), end, kChunk));
    const std::string begin = file.read(end, size, kChunk);
    const std::string tail = size - end > kMaxLooked ? std::string() : file.read(end, size, kMaxLooked);
    const bool unfinished = tail.find('\0') != std::string::npos || (tail.starts_with('{') && !is_json(tail));
    if (begins_like_ours(begin) || only_zeros(file, end) || (after_ours && !tail.empty() && unfinished)) {
      found.kind = LineTail::torn;
    } else {
      found.kind = is_text(begin) ? LineTail::foreign : LineTail::no_text;
    }
  }
  return file.error();
}

std::error_code find_raw_tail(int descriptor, off_t size, LineTail& found) {
  Source file(descriptor, size);
  found = {LineTail::whole, size};
  if (file.read(0, size, static_cast<off_t>(kSqlite.size())) == kSqlite) {
    found.kind = LineTail::no_text;
  } else if (size > 0 && file.read(size - 1, size, 1) != "\n") {
    found.kind = LineTail::foreign;
  }
  return file.error();
}

}  // namespace sluice
