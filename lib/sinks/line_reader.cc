// See the header.
#include "sinks/line_reader.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <span>
#include <utility>

#include "sinks/file_id.h"

namespace sluice {

LineReader::LineReader(const std::filesystem::path& path, std::size_t end)
    : file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)), chunk_(std::size_t{64} << 10U), end_(end) {
  if (!file_.is_open()) error_ = last_error();
}

std::optional<std::string_view> LineReader::next() {
  if (std::exchange(repeat_, false)) {
    offset_ += line_.size() + 1;
    ++number_;
    return line_;
  }
  line_.clear();
  while (!error_) {
    const std::size_t end = unread_.find('\n');
    line_ += unread_.substr(0, end);
    if (end != std::string_view::npos) {
      unread_.remove_prefix(end + 1);
      offset_ += line_.size() + 1;
      ++number_;
      return line_;
    }
    error_ = file_.read(std::span(chunk_).first(std::min(chunk_.size(), end_ - read_)), unread_);
    read_ += unread_.size();
    if (unread_.empty()) return std::nullopt;
  }
  return std::nullopt;
}

void LineReader::put_back() noexcept {
  repeat_ = true;
  offset_ -= line_.size() + 1;
  --number_;
}

bool LineReader::still_is(const std::filesystem::path& path) const noexcept {
  struct ::stat now {};
  return ::fstat(file_.get(), &now) == 0 && FileId::of(path.string()) == FileId(now);
}

}  // namespace sluice
