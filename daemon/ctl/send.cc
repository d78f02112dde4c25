// `sluicectl send`: posts lines as events, many in a request. If a line is refused, the request is sent again without
// it. Refuses no line itself; the daemon does.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <span>
#include <vector>

#include "ctl/commands.h"
#include "ctl/json.h"
#include "ctl/post.h"
#include "ctl/progress.h"
#include "host/standard_streams.h"

namespace sluicectl {

namespace {

// Of a body, unless a single line is longer; an eighth of the default --max-request-bytes of sluiced.
constexpr std::size_t kMaxBytes = std::size_t{1} << 20U;
// More complaints are counted, not shown.
constexpr std::size_t kMaxComplaints = 20;

struct Line {
  std::uint64_t number = 0;  // from 1
  std::string text;
};

class Sender {
 public:
  Sender(const Arguments& arguments, std::uint64_t bytes)
      : poster_(arguments.to, arguments.retry_for),
        progress_(::isatty(STDERR_FILENO) == 1, bytes, Progress::Clock::now()),
        batch_(arguments.batch) {}

  // False: stop reading, nothing more can be sent.
  bool add(Line line) {
    bytes_ += line.text.size() + 1;
    if (line.text.ends_with('\r')) line.text.pop_back();
    if (line.text.find_first_not_of(" \t\r") == std::string::npos) return true;
    if (given_up_) {
      ++unsent_;
      return false;
    }
    const std::size_t size = line.text.size() + 1;
    if (waiting_bytes_ + size > kMaxBytes || waiting_.size() == batch_) flush();
    waiting_bytes_ += size;
    waiting_.push_back(std::move(line));
    return !given_up_;
  }

  void flush() {
    send(waiting_);
    waiting_.clear();
    waiting_bytes_ = 0;
    show(false);
  }

  int finish() {
    flush();
    show(true);
    if (complaints_ > kMaxComplaints)
      sluiced::host::complain({fmt::format("… and {} more", complaints_ - kMaxComplaints)});
    fmt::print("accepted={} refused={} unknown={} unsent={}\n", accepted_, refused_, unknown_, unsent_);
    if (unreachable_) return kUnreachable;
    return refused_ + unknown_ + unsent_ == 0 ? kOk : kNo;
  }

 private:
  void send(std::vector<Line> lines) {
    while (!lines.empty()) {
      if (given_up_) {
        unsent_ += lines.size();
        return;
      }
      std::string body;
      for (const Line& line : lines) body.append(line.text).append("\n");
      const Outcome outcome = poster_.post("application/x-ndjson", body, lines.size());
      switch (outcome) {
        case Outcome::accepted:
          accepted_ += lines.size();
          return;
        case Outcome::unknown:
          unknown_ += lines.size();
          complain(lines, "unknown whether they were taken");
          return;
        case Outcome::busy:
        case Outcome::unreachable:
          given_up_ = true;
          unreachable_ = outcome == Outcome::unreachable;
          unsent_ += lines.size();
          complain(lines, "not sent, nor what follows");
          return;
        case Outcome::refused:
          if (!send_the_others(lines)) return;
      }
    }
  }

  // After a refusal. True: send the lines that are left in `lines`.
  bool send_the_others(std::vector<Line>& lines) {
    const auto bad = Json(poster_.answer().body).number("/line");
    if (poster_.answer().status == 400 && bad && *bad >= 1 && *bad <= lines.size()) {
      const auto at = lines.begin() + static_cast<std::ptrdiff_t>(*bad - 1);
      complain(std::span(&*at, 1), "refused");
      ++refused_;
      lines.erase(at);
      return true;
    }
    if (poster_.answer().status == 413 && lines.size() > 1) {
      const auto middle = lines.begin() + static_cast<std::ptrdiff_t>(lines.size() / 2);
      send({lines.begin(), middle});
      lines.erase(lines.begin(), middle);
      return true;
    }
    refused_ += lines.size();
    complain(lines, "refused");
    return false;
  }

  void complain(std::span<const Line> lines, std::string_view what) {
    if (++complaints_ > kMaxComplaints) return;
    write(progress_.make_way());
    const std::string which = lines.size() == 1
                                  ? fmt::format("line {}", lines.front().number)
                                  : fmt::format("lines {} to {}", lines.front().number, lines.back().number);
    sluiced::host::complain({fmt::format("sluicectl: {}: {}: {}", which, what, poster_.why())});
  }

  void show(bool last) { write(progress_.show(bytes_, accepted_, last, Progress::Clock::now())); }
  static void write(const std::string& text) { static_cast<void>(std::fputs(text.c_str(), stderr)); }

  Poster poster_;
  Progress progress_;
  const std::size_t batch_;
  std::vector<Line> waiting_;
  std::size_t waiting_bytes_ = 0;
  std::uint64_t bytes_ = 0, accepted_ = 0, refused_ = 0, unknown_ = 0, unsent_ = 0, complaints_ = 0;
  bool given_up_ = false, unreachable_ = false;
};

}  // namespace

int send(const Arguments& arguments) {
  std::ifstream file;
  std::error_code error;
  std::uint64_t bytes = 0;
  const bool from_stdin = arguments.file == "-";
  if (!from_stdin) {
    file.open(arguments.file, std::ios::binary);
    if (!file || std::filesystem::is_directory(arguments.file, error)) {
      const auto why = error ? error : std::error_code(errno != 0 ? errno : EISDIR, std::generic_category());
      sluiced::host::complain({fmt::format("sluicectl: open {}: {}", arguments.file, why.message())});
      return kUnreadable;
    }
    if (std::filesystem::is_regular_file(arguments.file, error))
      bytes = std::filesystem::file_size(arguments.file, error);
    if (error) bytes = 0;
  } else {
    std::ios::sync_with_stdio(false);
  }
  std::istream& in = from_stdin ? std::cin : file;
  Sender sender(arguments, bytes);
  Line line;
  // After giving up, the rest of a file is counted; the rest of a stream is not read.
  while (std::getline(in, line.text)) {
    ++line.number;
    if (!sender.add(line) && from_stdin) break;
  }
  const int code = sender.finish();
  if (in.bad()) {
    sluiced::host::complain({fmt::format("sluicectl: read {}: failed", arguments.file)});
    return kUnreadable;
  }
  return code;
}

}  // namespace sluicectl
