// The log: whole lines, nothing invented, nobody kept waiting. A real pipe stands for stderr.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <csignal>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "log/line.h"
#include "log/log.h"

namespace {

using namespace std::chrono_literals;
using sluice::LogLevel;
using sluiced::log::Format;
using sluiced::log::kMaxLine;
using sluiced::log::Log;
using sluiced::log::make_line;

constexpr std::chrono::system_clock::time_point kTime{1'738'367'999'123ms};  // 2025-01-31T23:59:59.123Z

// A pipe of two pages (the last one counts as full once there is a line in it), whose reader reads only when told to.
class SmallPipe {
 public:
  SmallPipe() {
    REQUIRE(::pipe2(ends_, O_CLOEXEC) == 0);
    REQUIRE(::fcntl(ends_[0], F_SETFL, O_NONBLOCK) == 0);
    REQUIRE(::fcntl(ends_[1], F_SETPIPE_SZ, 8192) >= 8192);
  }
  ~SmallPipe() {
    close_reader();
    ::close(ends_[1]);
  }
  SmallPipe(const SmallPipe&) = delete;
  SmallPipe& operator=(const SmallPipe&) = delete;

  [[nodiscard]] int fd() const { return ends_[1]; }

  // All that is in it now.
  std::string read_all() {
    std::string text;
    char buffer[4096];
    for (ssize_t n = 0; (n = ::read(ends_[0], buffer, sizeof buffer)) > 0;) {
      text.append(buffer, static_cast<std::size_t>(n));
    }
    return text;
  }

  // Whether nothing can be written any more.
  [[nodiscard]] bool wait_full(std::chrono::steady_clock::time_point deadline) const {
    pollfd room{ends_[1], POLLOUT, 0};
    while (::poll(&room, 1, 0) > 0) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::yield();
    }
    return true;
  }

  void close_reader() {
    if (ends_[0] >= 0) ::close(ends_[0]);
    ends_[0] = -1;
  }

 private:
  int ends_[2] = {-1, -1};
};

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    REQUIRE(end != std::string_view::npos);  // a torn line
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  return lines;
}

// N of "log: N lines dropped".
std::optional<std::size_t> dropped_in(std::string_view line) {
  const std::size_t begin = line.find("log: ");
  if (begin == std::string_view::npos || !line.ends_with(" lines dropped")) return std::nullopt;
  std::size_t count = 0;
  std::from_chars(line.data() + begin + 5, line.data() + line.size(), count);
  return count;
}

std::chrono::steady_clock::time_point in(std::chrono::nanoseconds time) {
  return std::chrono::steady_clock::now() + time;
}

}  // namespace

TEST_CASE("log line: each format in its own words") {
  CHECK(make_line(Format::text, LogLevel::warn, kTime, "sink: disk full worker=3") ==
        "2025-01-31T23:59:59.123Z warn  sink: disk full worker=3\n");
  CHECK(make_line(Format::json, LogLevel::info, kTime, "ready") ==
        "{\"time\":\"2025-01-31T23:59:59.123Z\",\"level\":\"info\",\"msg\":\"ready\"}\n");
  CHECK(make_line(Format::journal, LogLevel::error, kTime, "m") == "<3>m\n");
  CHECK(make_line(Format::journal, LogLevel::warn, kTime, "m") == "<4>m\n");
  CHECK(make_line(Format::journal, LogLevel::info, kTime, "m") == "<6>m\n");
  CHECK(make_line(Format::journal, LogLevel::debug, kTime, "m") == "<7>m\n");
}

TEST_CASE("log line: a message cannot forge a second line or drive a terminal") {
  CHECK(make_line(Format::journal, LogLevel::info, kTime, "a\r\n<3>b\tc\x1b[2J\x7f") ==
        "<6>a\\r\\n<3>b\\tc\\x1b[2J\\x7f\n");
  CHECK(make_line(Format::json, LogLevel::info, kTime, "a\n\"b\"\\\x01").find(R"("msg":"a\n\"b\"\\\u0001"})") !=
        std::string::npos);
}

TEST_CASE("log line: valid UTF-8 stays, anything else is written out") {
  CHECK(make_line(Format::journal, LogLevel::info, kTime, "Gr\u00fc\u00dfe \u20ac \U0001F600") ==
        "<6>Gr\u00fc\u00dfe \u20ac \U0001F600\n");
  // A lone continuation, an overlong slash, a surrogate, beyond U+10FFFF, a character that stops half-way.
  CHECK(make_line(Format::journal, LogLevel::info, kTime, "\x80 \xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80 \xe2\x82") ==
        "<6>\\x80 \\xc0\\xaf \\xed\\xa0\\x80 \\xf4\\x90\\x80\\x80 \\xe2\\x82\n");
  CHECK(make_line(Format::json, LogLevel::info, kTime, "\xff").find(R"("msg":"\ufffd")") != std::string::npos);
}

TEST_CASE("log line: a long message is cut, with its end intact, and never within a character") {
  for (const Format format : {Format::text, Format::journal, Format::json}) {
    for (const std::string_view piece : {"x", "\n", "\u20ac", "\xff"}) {
      std::string message;
      while (message.size() < 2 * kMaxLine) message += piece;
      const std::string line = make_line(format, LogLevel::info, kTime, message);
      CHECK(line.size() <= kMaxLine);
      CHECK(line.size() > kMaxLine - 16);
      CHECK(line.ends_with(format == Format::json ? "...\"}\n" : "...\n"));
      const std::size_t cut = line.rfind("...");
      if (piece == "\u20ac") CHECK(line.substr(0, cut).ends_with(piece));
    }
  }
}

TEST_CASE("log line: a stream is the journal's only if device and inode say so") {
  SmallPipe pipe;
  struct stat is {};
  REQUIRE(::fstat(pipe.fd(), &is) == 0);
  const std::string right = std::to_string(is.st_dev) + ":" + std::to_string(is.st_ino);
  using sluiced::log::format_for;
  CHECK(format_for(pipe.fd(), right.c_str()) == Format::journal);
  CHECK(format_for(pipe.fd(), (right + "0").c_str()) == Format::text);
  CHECK(format_for(pipe.fd(), ("1" + right).c_str()) == Format::text);
  CHECK(format_for(-1, right.c_str()) == Format::text);
  for (const char* wrong : {"", ":", "1", "1:", ":1", "x:y", "8:1 "})
    CHECK(format_for(pipe.fd(), wrong) == Format::text);
  CHECK(format_for(pipe.fd(), nullptr) == Format::text);
}

TEST_CASE("log: what was written is there after a flush, in order, up to the level") {
  SmallPipe pipe;
  Log log(pipe.fd(), Format::journal, LogLevel::info);
  log.write(LogLevel::info, "one");
  log.write(LogLevel::debug, "not said");
  log.hook()(LogLevel::error, "two\nlines");
  REQUIRE(log.flush(10s));
  CHECK(pipe.read_all() == "<6>one\n<3>two\\nlines\n");
  CHECK(log.dropped() == 0);
}

TEST_CASE("log: after close nothing is written, neither by the log nor by a hook that outlives it") {
  SmallPipe pipe;
  sluice::LogHook hook;
  {
    Log log(pipe.fd(), Format::journal, LogLevel::debug);
    hook = log.hook();
    log.write(LogLevel::info, "before");
    REQUIRE(log.close(10s));
    log.write(LogLevel::info, "after");
    hook(LogLevel::info, "after");
    CHECK(log.close(10s));
    CHECK(log.flush(10s));
  }
  hook(LogLevel::error, "long after");
  CHECK(pipe.read_all() == "<6>before\n");
}

TEST_CASE("log: a pipe that nobody reads holds neither caller, close nor destructor, and gets nothing after close") {
  SmallPipe pipe;
  const auto begin = std::chrono::steady_clock::now();
  std::optional<Log> log(std::in_place, pipe.fd(), Format::journal, LogLevel::info);
  for (int i = 0; i < 5000; ++i) log->write(LogLevel::info, "a line of some length, number " + std::to_string(i));
  REQUIRE(pipe.wait_full(in(10s)));
  CHECK_FALSE(log->flush(1ms));
  CHECK_FALSE(log->close(1ms));
  CHECK(std::chrono::steady_clock::now() - begin < 5s);

  // Now the reader reads. All that comes out is what was in before, in whole lines.
  const std::string before = pipe.read_all();
  CHECK(lines_of(before).size() > 10);
  const auto begin_end = std::chrono::steady_clock::now();
  CHECK(log->flush(10s));  // the thread has taken everything out of the queue
  log.reset();
  CHECK(std::chrono::steady_clock::now() - begin_end < 5s);
  CHECK(pipe.read_all().empty());
}

TEST_CASE("log: a destructor leaves a thread that cannot write behind") {
  SmallPipe pipe;
  std::chrono::steady_clock::time_point begin;
  {
    Log log(pipe.fd(), Format::journal, LogLevel::info);
    for (int i = 0; i < 5000; ++i) log.write(LogLevel::info, "a line of some length, number " + std::to_string(i));
    REQUIRE(pipe.wait_full(in(10s)));
    begin = std::chrono::steady_clock::now();
  }
  CHECK(std::chrono::steady_clock::now() - begin < 5s);
}

TEST_CASE("log: lines for which there is no room are counted, and the count is said where they would have stood") {
  SmallPipe pipe;
  Log log(pipe.fd(), Format::journal, LogLevel::info);
  constexpr std::size_t kLines = 5000;
  for (std::size_t i = 0; i < kLines; ++i)
    log.write(LogLevel::info, "a line of some length, number " + std::to_string(i));
  CHECK(log.dropped() > 0);
  std::string text;
  const auto deadline = in(30s);
  while (!log.flush(1ms) && std::chrono::steady_clock::now() < deadline) text += pipe.read_all();
  text += pipe.read_all();
  std::size_t written = 0;
  std::size_t dropped = 0;
  for (const std::string_view line : lines_of(text)) {
    if (const auto count = dropped_in(line)) {
      CHECK(line.starts_with("<4>"));
      dropped += *count;
    } else {
      ++written;
    }
  }
  CHECK(dropped == log.dropped());
  CHECK(written + dropped == kLines);
  CHECK(text.ends_with("number 4999\n"));
}

TEST_CASE("log: a reader who leaves costs lines, not the process") {
  const auto earlier = std::signal(SIGPIPE, SIG_IGN);
  {
    SmallPipe pipe;
    Log log(pipe.fd(), Format::text, LogLevel::info);
    pipe.close_reader();
    log.write(LogLevel::info, "into the void");
    CHECK(log.flush(10s));
    CHECK(log.close(10s));
  }
  std::signal(SIGPIPE, earlier);
}

TEST_CASE("log: many threads write whole lines") {
  SmallPipe pipe;
  Log log(pipe.fd(), Format::journal, LogLevel::info);
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([hook = log.hook()] {
        for (int i = 0; i < 100; ++i) hook(LogLevel::info, "whole");
      });
    }
  }
  std::string text;
  const auto deadline = in(30s);
  while (!log.flush(1ms) && std::chrono::steady_clock::now() < deadline) text += pipe.read_all();
  text += pipe.read_all();
  const auto lines = lines_of(text);
  CHECK(lines.size() == 400);
  for (const std::string_view line : lines) CHECK(line == "<6>whole");
}
