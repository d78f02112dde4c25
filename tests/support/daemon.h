// The real sluiced, started for a test: on ports of its own, with a state directory of its own, taking events once
// constructed. To be used on one thread. Throws, with what the daemon said, if it does not get ready.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "support/process.h"
#include "support/temp_dir.h"

namespace test {

using Flags = std::vector<std::string>;

// The account given at exit, as read back from the line or the JSON.
struct Report {
  std::string reason;
  std::uint64_t accepted = 0, delivered = 0, dead = 0, kept = 0, lost = 0, replayed = 0;
  double elapsed = -1;  // seconds

  [[nodiscard]] bool balanced() const noexcept { return accepted == delivered + dead + kept + lost; }
};
// Nothing if the text is no report, to the letter.
[[nodiscard]] std::optional<Report> report_in_line(std::string_view line);
[[nodiscard]] std::optional<Report> report_in_json(std::string_view text);

// How a run of sluiced ended.
struct Ended {
  int code = -1;
  std::string errors;     // all of stderr
  std::string last_line;  // of stderr
  std::string output;     // all of stdout
  std::optional<Report> report;
  milliseconds after{};  // since the signal, or since the start if there was none
};

class Daemon {
 public:
  // `flags` may name --state-dir, --listen and --admin; what they do not name is set to something of our own.
  // `program`: sluiced itself, or one that differs from it in what a test needs.
  explicit Daemon(const Flags& flags = {}, const std::vector<std::string>& environment = {},
                  const Descriptors& descriptors = {}, const char* program = SLUICED_PATH);

  // As bound.
  [[nodiscard]] const std::string& address(std::size_t nth = 0) const { return listen_.at(nth); }
  [[nodiscard]] const std::string& admin() const noexcept { return admin_; }
  [[nodiscard]] const std::string& admin_socket() const noexcept { return admin_socket_; }  // empty: there is none
  [[nodiscard]] const std::string& ready_line() const noexcept { return ready_line_; }
  [[nodiscard]] std::chrono::duration<double, std::milli> start_took() const noexcept { return start_took_; }
  [[nodiscard]] std::filesystem::path state_dir() const { return own_.path() / "state"; }  // unless flags named one

  [[nodiscard]] Process& process() noexcept { return process_; }

  // Sends SIGTERM (or what is said) and remembers when.
  void signal_stop(int number = 15);
  // How it ended; throws if it has not by then.
  [[nodiscard]] Ended wait_end(milliseconds limit = std::chrono::seconds(20));
  // Both.
  [[nodiscard]] Ended stop() {
    signal_stop();
    return wait_end();
  }

 private:
  TempDir own_;
  Process process_;
  Clock::time_point signalled_{};
  std::vector<std::string> listen_;
  std::string admin_, admin_socket_;
  std::string ready_line_;
  std::chrono::duration<double, std::milli> start_took_{};
};

// Runs sluiced with these flags, to the letter, until it ends by itself: for what it must refuse.
[[nodiscard]] Ended run_to_end(const Flags& flags, const std::vector<std::string>& environment = {},
                               const Descriptors& descriptors = {});

// How many lines of it contain `part`.
[[nodiscard]] std::size_t lines_with(std::string_view text, std::string_view part);

// A file as text; empty if there is none.
[[nodiscard]] std::string text_of(const std::filesystem::path& path);

}  // namespace test
