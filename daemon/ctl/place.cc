// See the header.
#include "ctl/place.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <string_view>

#include "ctl/printable.h"
#include "sluice/error.h"

namespace sluicectl {

namespace {

std::error_code last_error() { return {errno, std::generic_category()}; }

[[noreturn]] void refuse(const std::string& file, std::string_view why) {
  throw sluice::StartError(sluice::StartError::Kind::io,
                           fmt::format("remember the place in {}: {}; another place: --place FILE|none", file, why));
}

std::error_code write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(descriptor, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return last_error();
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

bool take_number(std::string_view& text, std::uint64_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

}  // namespace

Place::Place(const std::filesystem::path& file, const std::string& to) {
  const std::string name = file.string();
  descriptor_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
  if (descriptor_ < 0) refuse(name, last_error().message());
  try {
    struct stat status {};
    if (::fstat(descriptor_, &status) != 0) refuse(name, last_error().message());
    if (!S_ISREG(status.st_mode)) refuse(name, "it is not a file");
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      refuse(name, errno == EWOULDBLOCK ? "another replay uses it" : last_error().message());
    }
    read(name, fmt::format("sluicectl replay 1 to {}\n", to));
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

Place::~Place() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void Place::read(const std::string& file, const std::string& head) {
  std::string text;
  std::array<char, 65536> bytes{};
  for (;;) {
    const ssize_t n = ::pread(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(text.size()));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) refuse(file, last_error().message());
    if (n == 0) break;
    text.append(bytes.data(), static_cast<std::size_t>(n));
  }
  if (head.starts_with(text) && text.size() < head.size()) {  // new, or with a torn first line
    if (::ftruncate(descriptor_, 0) != 0) refuse(file, last_error().message());
    if (const std::error_code error = write_all(descriptor_, head)) refuse(file, error.message());
    return;
  }
  if (!text.starts_with("sluicectl replay 1 to ")) refuse(file, "it is another kind of file");
  if (!text.starts_with(head)) refuse(file, "it is the place of a replay to another server");
  std::string_view rest(text);
  rest.remove_prefix(head.size());
  for (std::size_t end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
    if (!take(rest.substr(0, end))) break;
    rest.remove_prefix(end + 1);
  }
  for (auto& [run, ranges] : answered_) std::ranges::sort(ranges);
  if (!rest.empty() && ::ftruncate(descriptor_, static_cast<off_t>(text.size() - rest.size())) != 0) {
    refuse(file, last_error().message());
  }
}

bool Place::take(std::string_view line) {
  const std::size_t space = line.find(' ');
  if (space == std::string_view::npos) return false;
  const std::string_view run = line.substr(0, space);
  std::vector<Range> ranges;
  for (line.remove_prefix(space); !line.empty();) {
    Range range;
    if (line.front() != ' ') return false;
    line.remove_prefix(1);
    if (!take_number(line, range.first) || !line.starts_with('-')) return false;
    line.remove_prefix(1);
    if (!take_number(line, range.second) || range.second < range.first) return false;
    ranges.push_back(range);
  }
  std::vector<Range>& known = answered_[std::string(run)];
  for (const Range& range : ranges) {
    const bool follows = !known.empty() && known.back().second + 1 == range.first;
    if (follows) known.back().second = range.second;
    if (!follows) known.push_back(range);
  }
  return true;
}

bool Place::has(const sluice::EventId& event) const {
  if (answered_.empty()) return false;
  const auto run = answered_.find(run_text(event.run));
  if (run == answered_.end()) return false;
  const auto behind = std::ranges::upper_bound(run->second, event.sequence, {}, &Range::first);
  // Ranges do not overlap, so only the last one that begins at or before this event can contain it.
  return behind != run->second.begin() && std::prev(behind)->second >= event.sequence;
}

std::error_code Place::add(std::span<const sluice::EventId> events) {
  if (descriptor_ < 0) return {};
  std::string lines;
  for (std::size_t i = 0; i < events.size();) {
    const sluice::RunId& run = events[i].run;
    lines += run_text(run);
    while (i < events.size() && events[i].run == run) {
      const std::uint64_t first = events[i].sequence;
      std::uint64_t last = first;
      for (++i; i < events.size() && events[i].run == run && events[i].sequence == last + 1; ++i) ++last;
      lines += fmt::format(" {}-{}", first, last);
    }
    lines += '\n';
  }
  const off_t before = ::lseek(descriptor_, 0, SEEK_END);
  const std::error_code error = write_all(descriptor_, lines);
  if (error && before >= 0 && ::ftruncate(descriptor_, before) != 0) return last_error();
  return error;
}

std::filesystem::path place_for(const std::filesystem::path& state_dir, std::string_view to) {
  std::uint64_t hash =
      14695981039346656037U;  // FNV-1a, 64 bits: a URL may contain characters that a file name must not
  for (const char c : to) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  return state_dir / fmt::format("replay-{:016x}.place", hash);
}

}  // namespace sluicectl
