// Starting and stopping with nothing to do: how long it takes, what it leaves behind, what it refuses and with which
// code.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "support/client.h"
#include "support/daemon.h"
#include "support/delivered.h"
#include "support/environment.h"
#include "support/say.h"

namespace {

using namespace std::chrono_literals;
using test::Daemon;
using test::Flags;
using test::milliseconds;

template <class T>
T median(std::vector<T> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// One line on stderr that holds all of these.
void check_refused(const Flags& flags, int code, const std::vector<std::string>& words,
                   const std::vector<std::string>& environment = {}) {
  INFO("flags: ", fmt::format("{}", fmt::join(flags, " ")));
  const test::Ended ended = test::run_to_end(flags, environment);
  INFO("stderr: ", ended.errors);
  CHECK(ended.code == code);
  CHECK(std::count(ended.errors.begin(), ended.errors.end(), '\n') == 1);
  for (const std::string& word : words) CHECK_MESSAGE(ended.errors.find(word) != std::string::npos, word);
}

// The drain has begun once nobody is let in. False if that does not come.
bool wait_listens_no_more(const std::string& address) {
  const auto limit = test::Clock::now() + 2s;
  while (test::Clock::now() < limit) {
    try {
      const test::Client probe(address);
    } catch (const std::system_error&) {
      return true;
    }
  }
  return false;
}

Flags somewhere(const test::TempDir& dir, const Flags& more = {}) {
  Flags flags{"--listen", "127.0.0.1:0", "--admin", "none", "--state-dir", (dir.path() / "state").string()};
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

}  // namespace

TEST_SUITE("daemon.start") {
  TEST_CASE("start: to READY and from SIGTERM to the exit, idle, 50 ms in the median and never 500") {
    std::vector<double> starts;
    std::vector<double> stops;
    for (int i = 0; i < 20; ++i) {
      Daemon daemon;
      starts.push_back(daemon.start_took().count());
      REQUIRE(test::ask_once(daemon.address(), test::get("/readyz")).status == 200);
      const test::Ended ended = daemon.stop();
      CHECK(ended.code == 0);
      stops.push_back(static_cast<double>(ended.after.count()));
    }
    MESSAGE("start to READY: ", median(starts), " ms, SIGTERM to exit: ", median(stops), " ms (rounded up)");
    CHECK(median(starts) <= 50);
    CHECK(median(stops) <= 50);
    CHECK(*std::max_element(starts.begin(), starts.end()) <= 500);
    CHECK(*std::max_element(stops.begin(), stops.end()) <= 500);
  }

  TEST_CASE("start: an event stands in SQLite within a second, and a second run adds its own to those of the first") {
    const test::TempDir state;
    const auto database = state.path() / "events.db";
    constexpr std::size_t kEvents = 5;
    for (std::size_t run = 1; run <= 2; ++run) {
      Daemon daemon({"--state-dir", state.path().string()});
      for (std::size_t i = 0; i < kEvents; ++i) {
        const auto body = fmt::format(R"({{"run":{},"event":{}}})", run, i);
        REQUIRE(test::ask_once(daemon.address(), test::post("application/json", body)).status == 202);
      }
      const auto limit = test::Clock::now() + 1s;
      while (test::sqlite_column(database, "id").size() < run * kEvents && test::Clock::now() < limit) {
        std::this_thread::sleep_for(1ms);  // between looks
      }
      CHECK(test::sqlite_column(database, "id").size() == run * kEvents);
      daemon.signal_stop(SIGINT);
      const test::Ended ended = daemon.wait_end();
      CHECK(ended.code == 0);
      REQUIRE(ended.report);
      CHECK(ended.report->accepted == kEvents);
      CHECK(ended.report->delivered == kEvents);
      CHECK(ended.report->balanced());
    }
    const auto ids = test::sqlite_column(database, "id");
    CHECK(std::set<std::string>(ids.begin(), ids.end()).size() == 2 * kEvents);
    std::set<std::string> runs;
    for (const std::string& id : ids) runs.insert(id.substr(0, id.rfind('-')));
    CHECK(runs.size() == 2);
    CHECK(test::sqlite_column(database, "payload").front() == R"({"run":1,"event":0})");
    CHECK(test::sqlite_column(database, "typeof(payload)").front() == "text");
    CHECK(test::sqlite_column(database, "content_type").front() == "application/json");
  }

  TEST_CASE("start: an idle connection that is kept alive does not delay the stop") {
    Daemon daemon;
    test::Client fresh(daemon.address());
    test::Client used(daemon.address());
    REQUIRE(used.ask(test::post("application/json", "1")).status == 202);
    const test::Ended ended = daemon.stop();
    CHECK(ended.code == 0);
    CHECK(ended.after <= 500ms);
    CHECK(used.wait_closed());
    CHECK_FALSE(used.was_reset());
    CHECK(fresh.wait_closed());
  }

  TEST_CASE("start: a client that sent half a request delays the stop by a fifth of the deadline at most") {
    for (const std::string half : {"POST /v1/events HTTP/1.1\r\nHost: te",
                                   "POST /v1/events HTTP/1.1\r\nHost: test\r\n"
                                   "Content-Length: 100\r\n\r\nhalf"}) {
      INFO(half);
      Daemon daemon({"-t", "2s"});
      test::Client client(daemon.address());
      REQUIRE(client.send(half));
      // Answered behind it, on another connection of the same thread: so the half is there.
      REQUIRE(test::ask_once(daemon.address(), test::get("/readyz")).status == 200);
      const test::Ended ended = daemon.stop();
      CHECK(ended.code == 0);
      CHECK(ended.after <= 400ms + 150ms);
      REQUIRE(ended.report);
      CHECK(ended.report->accepted == 0);
    }
  }

  TEST_CASE("start: a client that does not read its answers delays the stop by a fifth of the deadline at most") {
    Daemon daemon({"-t", "2s", "--sink", "null:"});
    const test::Fd deaf = test::connect_to(daemon.address(), SOCK_STREAM | SOCK_NONBLOCK, 4096);
    const std::string request = test::post("application/json", "{");
    pollfd room{deaf.get(), POLLOUT, 0};
    while (::poll(&room, 1, 300) > 0) {  // until it is not read any more, for it reads nothing itself
      REQUIRE(::send(deaf.get(), request.data(), request.size(), MSG_NOSIGNAL) > 0);
    }
    const test::Ended ended = daemon.stop();
    CHECK(ended.code == 0);
    CHECK(ended.after <= 400ms + 150ms);
  }

  TEST_CASE("start: a request whose second half comes during the stop is still taken, answered and delivered") {
    const test::TempDir dir;
    const auto file = dir.path() / "events";
    Daemon daemon({"-t", "20s", "--sink", "file:" + file.string()});
    test::Client client(daemon.address());
    const std::string request = test::post("application/json", R"({"late":true})");
    REQUIRE(client.send(request.substr(0, request.size() - 5)));
    REQUIRE(test::ask_once(daemon.address(), test::get("/readyz")).status == 200);
    daemon.signal_stop();
    REQUIRE(wait_listens_no_more(daemon.address()));
    const test::Answer answer = client.ask(request.substr(request.size() - 5));
    CHECK(answer.status == 202);
    CHECK(answer.header("connection") == "close");
    const test::Ended ended = daemon.wait_end();
    CHECK(ended.code == 0);
    CHECK(ended.after <= 4s);
    CHECK(test::lines_of(file).size() == 1);
  }

  TEST_CASE("start: an address that other machines can reach is named at start, one of this machine is not") {
    {
      const test::TempDir dir;
      Daemon daemon({"--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--listen", "127.0.0.2:0", "--listen",
                     "unix:" + (dir.path() / "s").string()});
      CHECK(test::lines_with(daemon.process().errors(), "open to other machines") == 0);
      CHECK(daemon.stop().code == 0);
    }
    Daemon daemon({"--listen", "0.0.0.0:0", "--admin", "0.0.0.0:0"});
    const std::string said = daemon.process().errors();
    CHECK(test::lines_with(said, "open to other machines") == 2);
    CHECK(test::lines_with(said, "listen on " + daemon.address() + ": open to other machines") == 1);
    CHECK(test::lines_with(said, "for this one alone: 127.0.0.1:PORT or unix:PATH") == 2);  // what to do
    CHECK(daemon.stop().code == 0);
  }

  TEST_CASE("start: while it drains, the admin address answers to the end and readiness is red") {
    Daemon daemon({"-t", "600ms", "--sink", "null:?hang=true"});
    REQUIRE(test::ask_once(daemon.address(), test::post("application/json", "1")).status == 202);
    CHECK(test::ask_once(daemon.admin(), test::get("/readyz")).status == 200);
    daemon.signal_stop();
    const auto limit = test::Clock::now() + 500ms;
    int ready = 200;
    while (ready == 200 && test::Clock::now() < limit) {
      ready = test::ask_once(daemon.admin(), test::get("/readyz")).status;
    }
    CHECK(ready == 503);
    CHECK(test::ask_once(daemon.admin(), test::get("/healthz")).status == 200);
    CHECK(test::status_number(daemon.admin(), "accepted") == 1);
    CHECK(wait_listens_no_more(daemon.address()));
    CHECK(test::ask_once(daemon.admin(), test::get("/healthz")).status == 200);
    CHECK(daemon.wait_end().code == 3);
  }

  TEST_CASE("start: the drain says how far it is and who holds it up") {
    Daemon daemon({"-t", "1500ms", "--sink", "null:?hang=true", "--workers", "1"});
    REQUIRE(test::ask_once(daemon.address(), test::post("application/json", "1")).status == 202);
    daemon.signal_stop();
    const test::Ended ended = daemon.wait_end();
    CHECK_MESSAGE(ended.errors.find("worker") != std::string::npos, ended.errors);
    std::size_t lines = 0;
    for (auto at = ended.errors.find("drain"); at != std::string::npos; at = ended.errors.find("drain", at + 1))
      ++lines;
    CHECK_MESSAGE(lines >= 2, ended.errors);
  }

  TEST_CASE("start: as many workers as said, by the names of their threads") {
    Daemon daemon({"--workers", "7"});
    std::size_t workers = 0;
    for (const std::string& name : daemon.process().thread_names()) workers += name.find("worker") != std::string::npos;
    CHECK(workers == 7);
    CHECK_MESSAGE(daemon.ready_line().find("workers=7") != std::string::npos, daemon.ready_line());
    CHECK(daemon.stop().code == 0);
  }

  TEST_CASE("start: last-exit.json says running while it runs, and then what the last line says") {
    Daemon daemon;
    const auto path = daemon.state_dir() / "last-exit.json";
    CHECK_MESSAGE(test::text_of(path).find(R"("reason":"running")") != std::string::npos, test::text_of(path));
    REQUIRE(test::ask_once(daemon.address(), test::post("application/json", "1")).status == 202);
    const test::Ended ended = daemon.stop();
    REQUIRE_MESSAGE(ended.report, ended.last_line);
    const auto json = test::report_in_json(test::text_of(path));
    REQUIRE_MESSAGE(json, test::text_of(path));
    CHECK(json->reason == "drained");
    CHECK(json->accepted == 1);
    CHECK(json->delivered == 1);
    CHECK(json->elapsed == doctest::Approx(ended.report->elapsed).epsilon(0.01));
  }

  TEST_CASE("start: a kill leaves `running` behind, and the next start is none the worse") {
    const test::TempDir state;
    {
      Daemon daemon({"--state-dir", state.path().string()});
      daemon.signal_stop(SIGKILL);
      CHECK(daemon.wait_end().code == 128 + SIGKILL);
    }
    CHECK(test::text_of(state.path() / "last-exit.json").find("running") != std::string::npos);
    Daemon daemon({"--state-dir", state.path().string()});
    CHECK(daemon.stop().code == 0);
  }

  TEST_CASE("start: a hang-up signal stops nothing") {
    Daemon daemon;
    daemon.process().signal(SIGHUP);
    CHECK(test::ask_once(daemon.address(), test::post("application/json", "1")).status == 202);
    CHECK(daemon.stop().code == 0);
  }

  TEST_CASE("start: a flag that is wrong is refused with 64, on one line that names it") {
    check_refused({"--no-such-flag"}, 64, {"no-such-flag"});
    check_refused({"--workers", "x"}, 64, {"--workers", "x"});
    check_refused({"--workers", "0"}, 64, {"--workers", "0"});
    check_refused({"--drain-timeout", "5"}, 64, {"--drain-timeout", "5"});
    check_refused({"--queue-bytes", "1MB"}, 64, {"--queue-bytes", "1MB"});
    const test::TempDir dir;
    check_refused(somewhere(dir, {"--listen", "nowhere"}), 64, {"--listen", "nowhere"});
    check_refused(somewhere(dir, {"--listen", "127.0.0.1:70000"}), 64, {"--listen", "70000"});
    check_refused({"--sink", "carrier-pigeon:"}, 64, {"--sink", "carrier-pigeon:"});
    check_refused({"--sink", "null:?weight=1"}, 64, {"--sink", "weight"});
    check_refused({"--overflow", "spill"}, 64, {"--overflow", "spill"});
    check_refused({"--log-level", "loud"}, 64, {"--log-level", "loud"});
    check_refused({"stray"}, 64, {"stray"});
  }

  TEST_CASE("start: what is well formed and of no use here is refused with 78") {
    const test::TempDir dir;
    check_refused({"--state-dir", "none"}, 78, {"--sink"});
    check_refused({}, 78, {"--state-dir"});  // none said, and an environment that knows of none
    check_refused({"--state-dir", "none", "--sink", "null:", "--ack", "synced"}, 78, {"--ack", "synced"});
    check_refused({"--state-dir", "none", "--sink", "null:", "--overflow", "disk"}, 78, {"--overflow", "disk"});
    const auto text = dir.path() / "text";
    std::ofstream(text) << std::string(5000, 'x');
    check_refused(somewhere(dir, {"--sink", "sqlite:" + text.string()}), 78, {text.string(), "not a database"});
  }

  TEST_CASE(
      "start: an address that is not there, or a name that is not known, is 78 where no service manager tries again") {
    for (const std::string address : {"192.0.2.1:7070", "nowhere.invalid:7070"}) {
      check_refused({"--listen", address, "--admin", "none", "--state-dir", "none", "--sink", "null:"}, 78, {address});
    }
  }

  TEST_CASE("start: a service whose starts have failed before waits before it ends, and a stop ends the wait") {
    const test::TempDir dir;
    const std::string path = (dir.path() / "notify").string();
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    path.copy(at.sun_path, sizeof at.sun_path - 1);
    const test::Fd systemd(test::must(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket"));
    test::must(::bind(systemd.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at), "bind");
    // Five failed starts, as systemd hands them over: as descriptors from 3 on.
    test::Process process(
        {"/bin/sh", "-c",
         "for fd in 3 4 5 6 7; do eval \"exec $fd< /dev/null\"; done; LISTEN_PID=$$ LISTEN_FDS=5 "
         "LISTEN_FDNAMES=failed-start:failed-start:failed-start:failed-start:failed-start exec \"$@\"",
         "sh", test::program(SLUICED_PATH), "--listen", "192.0.2.1:1", "--admin", "none", "--state-dir", "none",
         "--sink", "null:"},
        {"NOTIFY_SOCKET=" + path});
    std::string said;
    pollfd readable{systemd.get(), POLLIN, 0};
    while (said.find("STATUS=tried again in 16 s: listen on 192.0.2.1:1") == std::string::npos) {
      REQUIRE_MESSAGE(::poll(&readable, 1, 10'000) == 1, said);
      std::array<char, 4096> message;
      const ssize_t size = ::recv(systemd.get(), message.data(), message.size(), 0);
      REQUIRE(size >= 0);
      said.append(message.data(), static_cast<std::size_t>(size)).append("\n");
    }
    const auto asked = test::Clock::now();
    process.signal(SIGTERM);
    const auto exit = process.wait_exit(20s);
    REQUIRE(exit);
    CHECK(exit->code == 69);
    CHECK(exit->at - asked < 5s);
  }

  TEST_CASE("start: a name is listened on at all its addresses, and an IPv6 that is switched off stops nothing") {
    if (::geteuid() != 0) {
      MESSAGE("skipped: hosts of its own need root");
      return;
    }
    const test::TempDir dir;
    const auto hosts = dir.path() / "hosts";
    std::ofstream(hosts) << "127.0.0.1 both\n::1 both\n";
    const auto start = [&](const std::string& preparation) {
      const std::vector<std::string> command{
          "/usr/bin/unshare",
          "--mount",
          "--net",
          "/bin/sh",
          "-ec",
          fmt::format("mount --bind {} /etc/hosts; ip link set lo up; {}; exec \"$@\"", hosts.string(), preparation),
          "sh",
          test::program(SLUICED_PATH),
          "--listen",
          "both:0",
          "--admin",
          "none",
          "--state-dir",
          "none",
          "--sink",
          "null:"};
      return std::make_unique<test::Process>(command, std::vector<std::string>{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"});
    };
    for (const bool ipv6 : {true, false}) {
      INFO("with IPv6: ", ipv6);
      const auto process = start(ipv6 ? "true" : "echo 1 > /proc/sys/net/ipv6/conf/lo/disable_ipv6");
      const auto ready = process->wait_line("ready run=", 20s);
      REQUIRE_MESSAGE(ready, process->errors());
      CHECK_MESSAGE((ready->find("listen=[::1]:") != std::string::npos) == ipv6, *ready);
      CHECK_MESSAGE(ready->find("127.0.0.1:") != std::string::npos, *ready);
      process->signal(SIGTERM);
      CHECK(process->wait_exit(20s)->code == 0);
      const bool warned = process->errors().find("not on [::1]:") != std::string::npos;
      CHECK_MESSAGE(warned != ipv6, process->errors());
    }
  }

  TEST_CASE("start: what another process holds is refused with 69") {
    const test::TempDir dir;
    const std::string state = (dir.path() / "state").string();
    const std::string file = "file:" + (dir.path() / "events").string();
    Daemon first({"--state-dir", state, "--sink", file});
    check_refused({"--listen", first.address(), "--admin", "none", "--state-dir", "none", "--sink", "null:"}, 69,
                  {first.address(), "use"});
    check_refused({"--listen", "127.0.0.1:0", "--admin", first.admin(), "--state-dir", "none", "--sink", "null:"}, 69,
                  {first.admin()});
    check_refused({"--listen", "127.0.0.1:0", "--admin", "none", "--state-dir", state, "--sink", "null:"}, 69, {state});
    check_refused({"--listen", "127.0.0.1:0", "--admin", "none", "--state-dir", "none", "--sink", file}, 69,
                  {(dir.path() / "events").string()});
    // The one that was there first is unharmed, in its account too.
    CHECK(test::ask_once(first.address(), test::post("application/json", "1")).status == 202);
    CHECK(test::text_of(dir.path() / "state" / "last-exit.json").find("running") != std::string::npos);
    CHECK(first.stop().code == 0);
  }

  TEST_CASE("start: a state directory that is none is refused with 78, a sink file that cannot be with 74, by name") {
    const test::TempDir dir;
    const auto file = dir.path() / "file";
    std::ofstream(file) << "no directory";
    check_refused({"--listen", "127.0.0.1:0", "--admin", "none", "--state-dir", (file / "state").string()}, 78,
                  {(file / "state").string()});
    check_refused({"--listen", "127.0.0.1:0", "--admin", "none", "--state-dir", file.string()}, 78, {file.string()});
    check_refused(somewhere(dir, {"--sink", "file:" + (file / "events").string()}), 74, {(file / "events").string()});
    check_refused(somewhere(dir, {"--sink", "sqlite:" + (file / "db").string()}), 74, {(file / "db").string()});
  }

  TEST_CASE("start: --check-config says what is wrong and touches nothing") {
    const test::TempDir dir;
    const test::Ended good = test::run_to_end(somewhere(dir, {"--check-config"}));
    CHECK_MESSAGE(good.code == 0, good.errors);
    CHECK_FALSE(std::filesystem::exists(dir.path() / "state"));
    check_refused(somewhere(dir, {"--check-config", "--workers", "x"}), 64, {"--workers"});
    check_refused(somewhere(dir, {"--check-config", "--listen", "nowhere"}), 64, {"--listen"});
  }

  TEST_CASE("start: --check-config finds a dead host, a missing address, directory or group, each in one line") {
    const test::TempDir dir;
    const auto file = dir.path() / "file";
    std::ofstream(file) << "no directory";
    const std::string inside = (file / "inside").string();
    const std::string missing = (dir.path() / "missing" / "events").string();
    const auto check = [&](const Flags& more, int code, const std::vector<std::string>& words) {
      Flags flags{"--check-config"};
      flags.insert(flags.end(), more.begin(), more.end());
      check_refused(flags, code, words, {"HOME=" + dir.path().string()});
    };
    check({"--listen", "nowhere.invalid:7070"}, 78, {"--listen", "nowhere.invalid:7070"});
    check({"--admin", "nowhere.invalid:7071"}, 78, {"--admin", "nowhere.invalid:7071"});
    check({"--listen", "192.0.2.1:7070"}, 78, {"192.0.2.1:7070", "Cannot assign"});
    check({"--listen", "unix:" + missing}, 78, {missing, "No such file"});
    check({"--listen", "unix:" + file.string()}, 69, {file.string(), "in use"});
    check({"--listen", "unix:" + (dir.path() / "s").string(), "--socket-group", "no-such-group"}, 78,
          {"no-such-group"});
    check({"--state-dir", file.string()}, 74, {"state directory", file.string(), "Not a directory"});
    check({"--state-dir", inside}, 74, {"state directory", inside, "Not a directory"});
    check({"--sink", "file:" + missing}, 74, {"sink file:" + missing, "No such file"});
    check({"--sink", "sqlite:" + missing}, 74, {"sink sqlite:" + missing, "No such file"});
    check({"--sink", "file:" + dir.path().string()}, 74, {"Is a directory"});
    CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), {}) == 1);  // `file`, as before
  }

  TEST_CASE(
      "start: --check-config beside the daemon that it is about says what is in use, is content, and harms nothing") {
    const test::TempDir dir;
    const std::string socket = "unix:" + (dir.path() / "s").string();
    Daemon daemon({"--state-dir", (dir.path() / "state").string(), "--listen", "127.0.0.1:0", "--listen", socket});
    const test::Ended checked =
        test::run_to_end({"--check-config", "--state-dir", (dir.path() / "state").string(), "--listen",
                          daemon.address(), "--listen", socket, "--admin", daemon.admin()});
    CHECK_MESSAGE(checked.code == 0, checked.errors);
    for (const std::string& words :
         {"--listen: " + daemon.address() + " is in use now", socket + " is there already",
          "--admin: " + daemon.admin() + " is in use now", std::string("state directory ")}) {
      CHECK_MESSAGE(checked.errors.find(words) != std::string::npos, checked.errors);
    }
    CHECK(test::lines_with(checked.errors, "sluiced: ") == 4);
    CHECK(test::ask_once(daemon.address(), test::post("application/json", "1")).status == 202);
    CHECK(test::ask_once(socket, test::post("application/json", "2")).status == 202);
    CHECK(daemon.stop().code == 0);
  }

  TEST_CASE("start: without /proc the files of sinks are opened and mended as ever") {
    if (::geteuid() != 0) {
      MESSAGE("skipped: to hide /proc needs root");
      return;
    }
    const test::TempDir dir;
    const auto lines = dir.path() / "events";
    const auto output = dir.path() / "output";
    const auto start = [&](const std::string& sink) {
      const std::vector<std::string> command{"/usr/bin/unshare",
                                             "--mount",
                                             "/bin/sh",
                                             "-ec",
                                             "mount -t tmpfs none /proc; exec \"$@\" >> " + output.string(),
                                             "sh",
                                             test::program(SLUICED_PATH),
                                             "--listen",
                                             "127.0.0.1:0",
                                             "--admin",
                                             "none",
                                             "--state-dir",
                                             (dir.path() / "state").string(),
                                             "--sink",
                                             sink};
      return std::make_unique<test::Process>(command, std::vector<std::string>{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"});
    };
    std::ofstream(lines) << "{\"somebody else's\":true}";
    std::ofstream(output) << "not known";
    for (const std::string& sink : {"file:" + lines.string(), std::string("stdout:")}) {
      INFO(sink);
      const auto process = start(sink);
      const auto ready = process->wait_line("ready run=", 20s);
      REQUIRE_MESSAGE(ready, process->errors());
      const std::size_t at = ready->find("listen=") + 7;
      const std::string address = ready->substr(at, ready->find(' ', at) - at);
      CHECK(test::ask_once(address, test::post("application/json", "1")).status == 202);
      process->signal(SIGTERM);
      CHECK(process->wait_exit(20s)->code == 0);
    }
    CHECK(test::lines_of(lines).size() == 2);
    CHECK(test::lines_of(output).size() == 2);
  }

  TEST_CASE("start: a quota of its control group bounds the workers that there are by default") {
    const std::filesystem::path group = "/sys/fs/cgroup/cpu/sluice-test-" + std::to_string(::getpid());
    std::error_code none;
    if (std::thread::hardware_concurrency() < 2 || !std::filesystem::create_directory(group, none)) {
      MESSAGE("skipped: no second CPU, or no control group of version 1 to be made here");
      return;
    }
    std::ofstream(group / "cpu.cfs_quota_us") << 50'000;
    std::ofstream(group / "cpu.cfs_period_us") << 100'000;
    {
      test::Process process({"/bin/sh", "-ec", "echo $$ > " + (group / "cgroup.procs").string() + "; exec \"$@\"", "sh",
                             test::program(SLUICED_PATH), "--listen", "127.0.0.1:0", "--admin", "none", "--state-dir",
                             "none", "--sink", "null:"},
                            {});
      const auto ready = process.wait_line("ready run=", 20s);
      REQUIRE_MESSAGE(ready, process.errors());
      CHECK_MESSAGE(ready->find(" workers=1 ") != std::string::npos, *ready);
      process.signal(SIGTERM);
      CHECK(process.wait_exit(20s)->code == 0);
    }
    CHECK(std::filesystem::remove(group, none));
  }

  TEST_CASE("start: --help and --version answer on stdout and leave") {
    const test::Ended help = test::run_to_end({"--help"});
    CHECK(help.code == 0);
    CHECK(help.output.find("--drain-timeout") != std::string::npos);
    CHECK(help.errors.empty());
    const test::Ended version = test::run_to_end({"--version"});
    CHECK(version.code == 0);
    CHECK_FALSE(version.output.empty());
  }

  TEST_CASE("start: the state directory is found by the environment") {
    const test::TempDir dir;
    const Flags flags{"--listen", "127.0.0.1:0", "--admin", "none"};
    const auto state_after_run = [&](const std::string& variable, const std::filesystem::path& expected) {
      INFO(variable);
      std::vector<std::string> command{test::program(SLUICED_PATH)};
      command.insert(command.end(), flags.begin(), flags.end());
      test::Process process(command, {variable});
      REQUIRE(process.wait_line("ready run=", 20s));
      CHECK(std::filesystem::exists(expected / "events.db"));
      process.signal(SIGTERM);
      CHECK(process.wait_exit(20s)->code == 0);
    };
    state_after_run("STATE_DIRECTORY=" + (dir.path() / "a").string(), dir.path() / "a");
    state_after_run("XDG_STATE_HOME=" + (dir.path() / "b").string(), dir.path() / "b" / "sluice");
    state_after_run("HOME=" + (dir.path() / "c").string(), dir.path() / "c" / ".local" / "state" / "sluice");
  }
}
