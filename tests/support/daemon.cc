// Starting sluiced and reading its account.
#include "support/daemon.h"
#include "support/environment.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>

namespace test {
namespace {

constexpr milliseconds kReadyLimit{20'000};  // a sanitizer's build on a busy machine

bool names(const Flags& flags, std::string_view brief, std::string_view full) {
  return std::any_of(flags.begin(), flags.end(), [&](const std::string& flag) {
    return flag == brief || flag == full || flag.starts_with(std::string(full) + "=");
  });
}

std::vector<std::string> command(const Flags& flags, const char* program = SLUICED_PATH) {
  std::vector<std::string> all{test::program(program)};
  all.insert(all.end(), flags.begin(), flags.end());
  return all;
}

Flags completed(Flags flags, const std::filesystem::path& own) {
  const auto set = [&](std::string_view brief, std::string_view full, const std::string& value) {
    if (!names(flags, brief, full)) flags.insert(flags.end(), {std::string(full), value});
  };
  set("-l", "--listen", "127.0.0.1:0");
  set("-a", "--admin", "127.0.0.1:0");
  set("-d", "--state-dir", (own / "state").string());
  return flags;
}

// The value of ` name=value` in a line.
std::string value_of(std::string_view line, std::string_view name) {
  const auto at = line.find(fmt::format(" {}=", name));
  if (at == std::string_view::npos) return {};
  const auto begin = at + name.size() + 2;
  return std::string(line.substr(begin, line.find(' ', begin) - begin));
}

std::string last_line_of(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  const auto at = text.rfind('\n');
  return std::string(at == std::string_view::npos ? text : text.substr(at + 1));
}

// Walks through a text of which every piece is known but for the values.
class Reader {
 public:
  explicit Reader(std::string_view text) : left_(text) {}

  void expect(std::string_view piece) {
    ok_ = ok_ && left_.starts_with(piece);
    if (ok_) left_.remove_prefix(piece.size());
  }
  std::string word(char end) {
    const auto n = std::min(left_.find(end), left_.size());
    const std::string found(left_.substr(0, n));
    left_.remove_prefix(n);
    return found;
  }
  template <class Number>
  Number number() {
    Number n{};
    const auto [end, error] = std::from_chars(left_.data(), left_.data() + left_.size(), n);
    ok_ = ok_ && error == std::errc{};
    left_.remove_prefix(static_cast<std::size_t>(end - left_.data()));
    return n;
  }
  [[nodiscard]] bool all_read() const noexcept { return ok_ && left_.empty(); }

 private:
  std::string_view left_;
  bool ok_ = true;
};

Ended end_of(Process& process, milliseconds limit, std::optional<Clock::time_point> since) {
  const auto exit = process.wait_exit(limit);
  if (!exit) throw std::runtime_error("sluiced still runs; it said:\n" + process.errors());
  Ended ended;
  ended.code = exit->code;
  ended.errors = process.errors();
  ended.last_line = last_line_of(ended.errors);
  ended.output = process.output();
  ended.report = report_in_line(ended.last_line);
  ended.after = std::chrono::ceil<milliseconds>(exit->at - since.value_or(process.started()));
  return ended;
}

}  // namespace

std::optional<Report> report_in_line(std::string_view line) {
  Reader reader(line);
  Report report;
  reader.expect("stopped reason=");
  report.reason = reader.word(' ');
  const auto count = [&](std::string_view name, std::uint64_t& into) {
    reader.expect(fmt::format(" {}=", name));
    into = reader.number<std::uint64_t>();
  };
  count("accepted", report.accepted);
  count("delivered", report.delivered);
  count("dead", report.dead);
  count("kept", report.kept);
  count("lost", report.lost);
  count("replayed", report.replayed);
  reader.expect(" elapsed=");
  report.elapsed = reader.number<double>();
  reader.expect("s");
  return reader.all_read() ? std::optional(report) : std::nullopt;
}

std::optional<Report> report_in_json(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  Reader reader(text);
  Report report;
  reader.expect(R"({"reason":")");
  report.reason = reader.word('"');
  reader.expect("\"");
  const auto count = [&](std::string_view name, std::uint64_t& into) {
    reader.expect(fmt::format(R"(,"{}":)", name));
    into = reader.number<std::uint64_t>();
  };
  count("accepted", report.accepted);
  count("delivered", report.delivered);
  count("dead", report.dead);
  count("kept", report.kept);
  count("lost", report.lost);
  count("replayed", report.replayed);
  reader.expect(R"(,"elapsed":)");
  report.elapsed = reader.number<double>();
  reader.expect("}");
  return reader.all_read() ? std::optional(report) : std::nullopt;
}

Daemon::Daemon(const Flags& flags, const std::vector<std::string>& environment, const Descriptors& descriptors,
               const char* program)
    : process_(command(completed(flags, own_.path()), program), environment, descriptors) {
  const auto line = process_.wait_line("ready run=", kReadyLimit);
  if (!line) {
    process_.signal(SIGKILL);
    const auto exit = process_.wait_exit(kReadyLimit);
    throw std::runtime_error(
        fmt::format("sluiced did not get ready (exit {}); it said:\n{}", exit ? exit->code : -1, process_.errors()));
  }
  start_took_ = Clock::now() - process_.started();
  ready_line_ = *line;
  std::stringstream admins(value_of(ready_line_, "admin"));
  for (std::string one; std::getline(admins, one, ',');) {
    if (admin_.empty()) admin_ = one;
    if (one.starts_with("unix:")) admin_socket_ = one;
  }
  std::stringstream addresses(value_of(ready_line_, "listen"));
  for (std::string one; std::getline(addresses, one, ',');) listen_.push_back(one);
}

void Daemon::signal_stop(int number) {
  signalled_ = Clock::now();
  process_.signal(number);
}

Ended Daemon::wait_end(milliseconds limit) { return end_of(process_, limit, signalled_); }

Ended run_to_end(const Flags& flags, const std::vector<std::string>& environment, const Descriptors& descriptors) {
  Process process(command(flags), environment, descriptors);
  return end_of(process, kReadyLimit, std::nullopt);
}

std::size_t lines_with(std::string_view text, std::string_view part) {
  std::size_t lines = 0;
  for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, text.find('\n', at))) ++lines;
  return lines;
}

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace test
