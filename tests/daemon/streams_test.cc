// Standard input, output and error that are closed, full, without a reader, or with one that does not read: an exit
// code says what it always says, and nothing lands where it does not belong.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "support/client.h"
#include "support/daemon.h"
#include "support/environment.h"
#include "support/fd.h"
#include "support/process.h"
#include "support/temp_dir.h"

namespace {

using namespace std::chrono_literals;
using test::Flags;
using test::Process;

// Runs a program with its streams as the shell says (`redirections` may use $F, the name of no file yet).
class Redirected {
 public:
  Redirected(const std::string& redirections, const std::string& program, const Flags& flags)
      : process_(command(redirections, test::program(program), flags),
                 {"PATH=/usr/bin:/bin", "F=" + (dir_.path() / "pipe").string()}) {}

  [[nodiscard]] Process& process() noexcept { return process_; }
  [[nodiscard]] int code() {
    const auto exit = process_.wait_exit(20s);
    return exit ? exit->code : -1;
  }

 private:
  static std::vector<std::string> command(const std::string& redirections, const std::string& program,
                                          const Flags& flags) {
    std::vector<std::string> words{"/bin/sh", "-c", redirections + "\nexec \"$0\" \"$@\"", program};
    words.insert(words.end(), flags.begin(), flags.end());
    return words;
  }

  test::TempDir dir_;
  Process process_;
};

int code_of(const std::string& redirections, const std::string& program, const Flags& flags) {
  return Redirected(redirections, program, flags).code();
}

// Ways in which `stream`, 1 or 2, takes nothing.
std::vector<std::string> unwritable(int stream) {
  return {fmt::format("exec {}>&-", stream), fmt::format("exec {}>/dev/full", stream),
          // Its reader is gone.
          fmt::format("mkfifo $F; exec 3<>$F; exec {}>$F; exec 3>&-", stream)};
}
// A full pipe whose reader does not read.
constexpr std::string_view kStuckStderr = "mkfifo $F; exec 3<>$F; head -c 65536 /dev/zero >&3; exec 2>$F";

// A port that somebody listens on.
class TakenPort {
 public:
  TakenPort() : fd_(test::must(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket")) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    test::must(::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&at), size), "bind");
    test::must(::listen(fd_.get(), 1), "listen");
    test::must(::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&at), &size), "getsockname");
    address_ = fmt::format("127.0.0.1:{}", ntohs(at.sin_port));
  }
  [[nodiscard]] const std::string& address() const noexcept { return address_; }

 private:
  test::Fd fd_;
  std::string address_;
};

// Of a daemon on unix sockets in `dir`, which nobody can ask for its addresses: true once it is ready.
bool wait_ready(const std::string& admin) {
  for (const auto end = test::Clock::now() + 10s; test::Clock::now() < end; std::this_thread::yield()) {
    try {
      if (test::ask_once(admin, test::get("/readyz")).status == 200) return true;
    } catch (const std::system_error&) {  // not there yet
    }
  }
  return false;
}

struct Sockets {
  explicit Sockets(const test::TempDir& dir)
      : intake("unix:" + (dir.path() / "intake").string()), admin("unix:" + (dir.path() / "admin").string()) {}
  [[nodiscard]] Flags flags(const std::string& state, const std::string& sink) const {
    return {"--listen", intake, "--admin", admin, "--state-dir", state, "--sink", sink, "-t", "300ms"};
  }
  std::string intake, admin;
};

}  // namespace

TEST_SUITE("daemon.streams") {
  TEST_CASE("streams: a start that is refused has its exit code also where stderr cannot be written") {
    const TakenPort taken;
    const test::TempDir dir;
    const std::string no_database = (dir.path() / "text").string();
    std::ofstream(no_database) << "a text of some length, which no database begins with\n";
    struct Refused {
      int code;
      Flags flags;
    };
    const std::vector<Refused> all{
        {64, {"--workers", "0"}},
        {69, {"--listen", taken.address(), "--admin", "none", "--state-dir", "none", "--sink", "null:"}},
        {74, {"--listen", "127.0.0.1:0", "--admin", "none", "--state-dir", "none", "--sink", "file:/proc/x/y"}},
        {78, {"--listen", "127.0.0.1:0", "--admin", "none", "--state-dir", "none", "--sink", "sqlite:" + no_database}}};
    std::vector<std::string> ways = unwritable(2);
    ways.emplace_back(kStuckStderr);
    for (const Refused& refused : all) {
      for (const std::string& way : ways) {
        INFO(way, ", code ", refused.code);
        CHECK(code_of(way, SLUICED_PATH, refused.flags) == refused.code);
      }
    }
  }

  TEST_CASE("streams: --help and --version that cannot be written are an error, 74") {
    for (const char* const program : {SLUICED_PATH, SLUICECTL_PATH}) {
      for (const std::string flag : {"--help", "--version"}) {
        INFO(program, " ", flag);
        CHECK(code_of("", program, {flag}) == 0);
        for (const std::string& way : unwritable(1)) {
          INFO(way);
          CHECK(code_of(way, program, {flag}) == 74);
        }
      }
    }
  }

  TEST_CASE("streams: sluicectl has its exit codes where stderr cannot be written, and 74 where its answer cannot") {
    const test::TempDir dir;
    std::filesystem::create_directories(dir.path() / "journal");
    const std::string nobody = "unix:" + (dir.path() / "nobody").string();
    for (const std::string& way : unwritable(2)) {
      INFO(way);
      CHECK(code_of(way, SLUICECTL_PATH, {"no-such-command"}) == 64);
      CHECK(code_of(way, SLUICECTL_PATH, {"status", "--admin", nobody}) == 69);
      CHECK(code_of(way, SLUICECTL_PATH, {"send", (dir.path() / "no-file").string()}) == 74);
    }
    const Flags list{"journal", "ls", "--state-dir", dir.path().string()};
    CHECK(code_of("", SLUICECTL_PATH, list) == 0);
    CHECK(code_of("exec >&-", SLUICECTL_PATH, list) == 74);
    CHECK(code_of("exec >/dev/full", SLUICECTL_PATH, list) == 74);
  }

  TEST_CASE("streams: with 0, 1 and 2 closed no file of ours has their numbers, and dead letters hold no log lines") {
    const test::TempDir dir;
    const Sockets sockets(dir);
    const std::string state = (dir.path() / "state").string();
    {
      Redirected daemon("exec 0<&- 1>&- 2>&-", SLUICED_PATH, sockets.flags(state, "null:?refuse=1"));
      REQUIRE(wait_ready(sockets.admin));
      for (const int fd : {0, 1, 2}) {
        CHECK(std::filesystem::read_symlink(fmt::format("/proc/{}/fd/{}", daemon.process().pid(), fd)) == "/dev/null");
      }
      for (int i = 0; i < 5; ++i) {
        CHECK(test::ask_once(sockets.intake, test::post("text/plain", "x")).status == 202);
      }
      CHECK(test::wait_status_number(sockets.admin, "dead", 5, 10s));
      daemon.process().signal(SIGTERM);
      CHECK(daemon.code() == 0);
    }
    std::ifstream file(state + "/dead-letter.ndjson");
    std::size_t lines = 0;
    for (std::string line; std::getline(file, line); ++lines) CHECK(line.starts_with("{\"id\""));
    CHECK(lines == 5);
  }

  TEST_CASE("streams: a standard output that is closed is no sink: what is acknowledged is kept") {
    const test::TempDir dir;
    const Sockets sockets(dir);
    const std::string state = (dir.path() / "state").string();
    Redirected daemon("exec 1>&-", SLUICED_PATH, sockets.flags(state, "stdout:"));
    REQUIRE(wait_ready(sockets.admin));
    CHECK(test::ask_once(sockets.intake, test::post("text/plain", "x")).status == 202);
    daemon.process().signal(SIGTERM);
    CHECK(daemon.code() == 3);
    const auto report = test::report_in_json(test::text_of(state + "/last-exit.json"));
    REQUIRE(report);
    CHECK(report->delivered == 0);
    CHECK(report->kept == 1);
  }
}
