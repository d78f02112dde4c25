// sluicectl against a real sluiced: what it says, what it refuses, and its exit codes.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "support/client.h"
#include "support/daemon.h"
#include "support/environment.h"
#include "support/process.h"
#include "support/temp_dir.h"

namespace {

using namespace std::chrono_literals;
using test::Daemon;

struct Said {
  int code = -1;
  std::string output, errors;
};

Said ctl(std::vector<std::string> words, const std::vector<std::string>& environment = {}) {
  words.insert(words.begin(), test::program(SLUICECTL_PATH));
  test::Process process(words, environment);
  const auto exit = process.wait_exit(20s);
  REQUIRE(exit.has_value());
  return {exit->code, process.output(), process.errors()};
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

std::string file_of(const test::TempDir& dir, const std::string& text) {
  const auto path = dir.path() / "events.ndjson";
  std::ofstream(path) << text;
  return path.string();
}

// What every version begins with, and a checksum that fits: XXH3-64 of the 104 bytes before it.
std::string header_of_version_9() {
  using namespace std::string_literals;
  return "SLUICEJ\n\x09"s + std::string(104 - 9, '\0') + "\x25\xC1\xEF\x42\x2B\xDC\x4F\xC8"s;
}

std::map<std::string, std::string> files_of(const std::filesystem::path& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    files[entry.path().filename()] = test::text_of(entry.path());
  }
  return files;
}

// An address where nobody listens.
std::string nowhere(const test::TempDir& dir) { return "unix:" + (dir.path() / "nobody").string(); }

}  // namespace

TEST_SUITE("daemon.ctl") {
  TEST_CASE("ctl: --help names every command, and what is wrong with a command line is one line and 64") {
    const Said help = ctl({"--help"});
    CHECK(help.code == 0);
    for (const char* word : {"status", "send", "journal ls", "verify", "dump", "replay-to", "requeue", "drop"}) {
      CHECK(has(help.output, word));
    }
    const std::vector<std::vector<std::string>> wrong{{},
                                                      {"fly"},
                                                      {"journal"},
                                                      {"journal", "eat"},
                                                      {"send"},
                                                      {"send", "a", "b"},
                                                      {"send", "-", "--batch", "0"},
                                                      {"send", "-", "--to", "https://example.com"},
                                                      {"status", "--batch", "5"},
                                                      {"status", "--admin"},
                                                      {"status", "--admin", "7071"},
                                                      {"journal", "ls"},  // neither flag nor environment
                                                      {"journal", "replay-to", "--state-dir", "x"},
                                                      {"dead-letter", "drop"}};
    for (const auto& words : wrong) {
      INFO("words: ", fmt::format("{}", fmt::join(words, " ")));
      const Said said = ctl(words);
      CHECK(said.code == 64);
      CHECK(said.output.empty());
      CHECK(std::count(said.errors.begin(), said.errors.end(), '\n') == 1);
    }
  }

  TEST_CASE("ctl: status shows the books of a running daemon, and nobody there is 69") {
    Daemon daemon;
    REQUIRE(test::ask_once(daemon.address(), test::post("application/json", "{}")).status == 202);
    const Said said = ctl({"status", "--admin", daemon.admin()});
    CHECK(said.code == 0);
    CHECK(has(said.output, "phase=running"));
    CHECK(has(said.output, "accepted=1"));
    const Said json = ctl({"status", "--json", "--admin=" + daemon.admin()});
    CHECK(json.code == 0);
    CHECK(json.output.starts_with("{\"run\":"));
    const test::TempDir dir;
    CHECK(ctl({"status", "--admin", nowhere(dir)}).code == 69);
    CHECK(ctl({"status", "--admin", daemon.address()}).code == 69);  // no admin
  }

  TEST_CASE("ctl: send delivers every line once, in their order, whatever the batches") {
    const test::TempDir dir;
    const std::string sink = (dir.path() / "sink").string();
    Daemon daemon({"--sink", "file:" + sink + "?format=raw", "--workers", "1"});
    std::string lines;
    for (int i = 0; i < 1000; ++i) lines += fmt::format("{{\"k\":{}}}\n", i);
    const Said said = ctl({"send", file_of(dir, lines), "--to", daemon.address(), "--batch", "7"});
    CHECK(said.code == 0);
    CHECK(said.output == "accepted=1000 refused=0 unknown=0 unsent=0\n");
    CHECK(said.errors.empty());  // no bar where nobody watches
    CHECK(daemon.stop().code == 0);
    CHECK(test::text_of(sink) == lines);
  }

  TEST_CASE("ctl: send takes no good line for the fault of a bad one, and names the bad one") {
    const test::TempDir dir;
    Daemon daemon;
    const Said said = ctl({"send", file_of(dir, "{\"k\":1}\n\n{\"k\":\n{\"k\":3}\r\nnonsense\n{\"k\":5}"), "--to",
                           "http://" + daemon.address() + "/v1/events"});
    CHECK(said.code == 1);
    CHECK(said.output == "accepted=3 refused=2 unknown=0 unsent=0\n");
    CHECK(has(said.errors, "line 3: refused"));
    CHECK(has(said.errors, "line 5: refused"));
    CHECK(test::status_number(daemon.admin(), "accepted") == 3);
  }

  TEST_CASE("ctl: send halves what is too large for one request, and refuses what is too large for one event") {
    const test::TempDir dir;
    Daemon daemon({"--max-request-bytes", "1000", "--max-event-bytes", "500"});
    std::string lines;
    for (int i = 0; i < 40; ++i) lines += "\"" + std::string(100, 'x') + "\"\n";
    lines += "\"" + std::string(600, 'y') + "\"\n";
    const Said said = ctl({"send", file_of(dir, lines), "--to", daemon.address()});
    CHECK(said.code == 1);
    CHECK(said.output == "accepted=40 refused=1 unknown=0 unsent=0\n");
    CHECK(has(said.errors, "line 41"));
  }

  TEST_CASE("ctl: send waits for a daemon that is full, and gives up in the time it was given") {
    const test::TempDir dir;
    std::string lines;
    for (int i = 0; i < 30; ++i) lines += "1\n";
    const std::string file = file_of(dir, lines);
    SUBCASE("full for a while") {
      Daemon daemon({"--queue-events", "10", "--sink", "null:?delay=100ms", "--workers", "1", "--batch-events", "5"});
      const Said said = ctl({"send", file, "--to", daemon.address(), "--batch", "10"});
      CHECK(said.code == 0);
      CHECK(said.output == "accepted=30 refused=0 unknown=0 unsent=0\n");
    }
    SUBCASE("nobody there") {
      const Said said = ctl({"send", file, "--to", nowhere(dir), "--retry-for", "200ms"});
      CHECK(said.code == 69);
      CHECK(said.output == "accepted=0 refused=0 unknown=0 unsent=30\n");
    }
    SUBCASE("no such file") { CHECK(ctl({"send", (dir.path() / "none").string()}).code == 74); }
  }

  TEST_CASE("ctl: journal and dead letters of a state directory that has none, and of none at all") {
    const test::TempDir dir;
    const std::string state = dir.path().string();
    CHECK(has(ctl({"journal", "ls", "--state-dir", state}).output, "total"));
    CHECK(ctl({"journal", "verify", "-d", state}).output ==
          "whole segments=0 events=0 settled=0 unfinished=0 broken=0\n");
    CHECK(ctl({"journal", "dump"}, {"STATE_DIRECTORY=" + state}).code == 0);
    CHECK(ctl({"dead-letter", "ls", "-d", state}).code == 0);
    for (const char* what : {"ls", "verify", "dump"}) CHECK(ctl({"journal", what, "-d", state + "/none"}).code == 74);
    CHECK(ctl({"dead-letter", "ls", "-d", state + "/none"}).code == 74);
  }

  TEST_CASE("ctl: dead letters are listed, become new events, and are thrown away") {
    const test::TempDir dir;
    const std::string state = (dir.path() / "state").string();
    {
      Daemon refusing({"--state-dir", state, "--sink", "null:?refuse=1"});
      CHECK(ctl({"send", file_of(dir, "1\n2\n3\n"), "--to", refusing.address()}).code == 0);
      CHECK(refusing.stop().report->dead == 3);
    }
    const Said list = ctl({"dead-letter", "ls", "--state-dir", state});
    CHECK(list.code == 0);
    CHECK(std::count(list.output.begin(), list.output.end(), '\n') == 3);
    CHECK(ctl({"dead-letter", "ls", "--json", "-d", state}).output == test::text_of(state + "/dead-letter.ndjson"));

    const std::string sink = (dir.path() / "sink").string();
    Daemon daemon({"--state-dir", state, "--sink", "file:" + sink});
    const std::string admin = daemon.admin_socket();
    CHECK(ctl({"dead-letter", "requeue", "--limit", "1", "--admin", admin}).output == "requeued=1 left=2\n");
    CHECK(ctl({"dead-letter", "drop", "--limit", "1", "--admin", admin}).output == "dropped=1 left=1\n");
    const Said rest = ctl({"dead-letter", "requeue", "--admin", admin});
    CHECK(rest.code == 0);
    CHECK(rest.output == "requeued=1 left=0\n");
    CHECK(ctl({"dead-letter", "ls", "-d", state}).output.empty());
    CHECK(test::ask_once(
              admin,
              "POST /dead-letter/drop?all HTTP/1.1\r\nHost: localhost\r\nSluice-Admin: 1\r\nContent-Length: 0\r\n\r\n")
              .status == 400);
    const test::Ended ended = daemon.stop();
    CHECK(ended.report->accepted == 2);
    CHECK(ended.report->delivered == 2);
    const std::string delivered = test::text_of(sink);
    const std::string first = list.output.substr(0, list.output.find(' '));
    CHECK(has(delivered, "\"datacontenttype\":\"application/json; requeued=" + first + "\",\"data\":1}"));
    CHECK(ctl({"dead-letter", "drop", "--all", "--admin", admin}).code == 69);
  }

  TEST_CASE(
      "ctl: without --admin it finds the socket in the state directory, as --state-dir or the environment has it") {
    const test::TempDir dir;
    const std::string state = (dir.path() / "state").string();
    Daemon daemon({"--state-dir", state, "--sink", "null:"});
    const std::string run = daemon.ready_line().substr(daemon.ready_line().find("run=") + 4, 36);
    CHECK(has(ctl({"status", "--state-dir", state}).output, run));
    CHECK(has(ctl({"status"}, {"STATE_DIRECTORY=" + state}).output, run));
    CHECK(has(ctl({"status"}, {"RUNTIME_DIRECTORY=" + state, "HOME=" + dir.path().string()}).output, run));
    const Said requeued = ctl({"dead-letter", "requeue", "-d", state});
    CHECK(requeued.code == 0);
    CHECK(requeued.output == "requeued=0 left=0\n");
    const Said dropped = ctl({"dead-letter", "drop", "--all"}, {"STATE_DIRECTORY=" + state});
    CHECK(dropped.code == 0);
    CHECK(dropped.output == "dropped=0 left=0\n");
    // An address that cannot change anything says so.
    const Said refused = ctl({"dead-letter", "drop", "--all", "--admin", daemon.admin()});
    CHECK(refused.code == 1);
    CHECK(has(refused.errors, "answered 403: actions are served on a unix socket alone"));
    CHECK(daemon.stop().code == 0);
    const Said gone = ctl({"status", "-d", state});
    CHECK(gone.code == 69);
    CHECK(has(gone.errors, "connect to unix:" + state + "/admin.sock: No such file"));
  }

  TEST_CASE("ctl: a bad line among the dead letters is reported and set aside, and the good ones become new events") {
    const test::TempDir dir;
    const std::string state = (dir.path() / "state").string();
    {
      Daemon refusing({"--state-dir", state, "--sink", "null:?refuse=1"});
      CHECK(ctl({"send", file_of(dir, "1\n2\n3\n"), "--to", refusing.address()}).code == 0);
      CHECK(refusing.stop().report->dead == 3);
    }
    const std::string letters = state + "/dead-letter.ndjson";
    const std::string good = test::text_of(letters);
    const std::string bad = "[2026-01-01] not a letter\n";
    std::ofstream(letters) << good.substr(0, good.find('\n') + 1) << bad << good.substr(good.find('\n') + 1);
    const Said list = ctl({"dead-letter", "ls", "-d", state});
    CHECK(list.code == 1);
    CHECK(has(list.errors, "line 2 is no dead letter"));
    CHECK(std::count(list.output.begin(), list.output.end(), '\n') == 3);

    Daemon daemon({"--state-dir", state, "--sink", "null:"});
    const Said said = ctl({"dead-letter", "requeue", "--admin", daemon.admin_socket()});
    CHECK(said.code == 1);
    CHECK(said.output == "requeued=3 left=0\n");
    CHECK(has(said.errors, "1 lines were no dead letters, the first of them line 2: set aside in dead-letter.damaged"));
    CHECK(test::text_of(state + "/dead-letter.damaged") == bad);
    CHECK(ctl({"dead-letter", "ls", "-d", state}).code == 0);
    const test::Ended ended = daemon.stop();
    CHECK(ended.report->delivered == 3);
    CHECK(has(ended.errors, "lines that are no dead letters were set aside lines=1 first=2 in=dead-letter.damaged"));
  }

  TEST_CASE("ctl: a requeue does not go round in circles where all are refused once more") {
    const test::TempDir dir;
    Daemon daemon({"--sink", "null:?refuse=1"});
    CHECK(ctl({"send", file_of(dir, "1\n2\n3\n"), "--to", daemon.address()}).code == 0);
    const auto dead = [&daemon] { return test::status_number(daemon.admin(), "dead"); };
    for (const auto until = test::Clock::now() + 5s; dead() < 3 && test::Clock::now() < until;) {
    }
    const Said said = ctl({"dead-letter", "requeue", "--admin", daemon.admin_socket()});
    CHECK(said.code == 0);
    CHECK(said.output.starts_with("requeued=3 "));
    CHECK(daemon.stop().report->dead == 6);
  }

  TEST_CASE(
      "ctl: the journal of a daemon that was killed is shown, replayed elsewhere in its order, and seen damaged") {
    const test::TempDir dir;
    const std::string state = (dir.path() / "state").string();
    std::string lines;
    for (int i = 0; i < 200; ++i) lines += fmt::format("{{\"k\":{}}}\n", i);
    {
      Daemon hung({"--state-dir", state, "--sink", "null:?hang=true"});
      CHECK(ctl({"send", file_of(dir, lines), "--to", hung.address(), "--batch", "50"}).code == 0);
      // Beside the daemon at work.
      CHECK(has(ctl({"journal", "verify", "-d", state}).output, "unfinished=200 broken=0"));
      hung.process().signal(9);
      static_cast<void>(hung.process().wait_exit(20s));
    }
    CHECK(has(ctl({"journal", "ls", "--json", "-d", state}).output, "\"events\":200,\"settled\":0,\"unfinished\":200"));
    const Said dump = ctl({"journal", "dump", "--json", "-d", state});
    CHECK(std::count(dump.output.begin(), dump.output.end(), '\n') == 200);
    CHECK(has(dump.output, "-200\",\"time\":"));

    const std::string sink = (dir.path() / "sink").string();
    Daemon other({"--sink", "file:" + sink + "?format=raw", "--workers", "1"});
    const Said replayed = ctl({"journal", "replay-to", "http://" + other.address(), "-d", state});
    CHECK(replayed.code == 0);
    CHECK(replayed.output == "accepted=200 refused=0 unknown=0 unsent=0\n");
    CHECK(other.stop().code == 0);
    CHECK(test::text_of(sink) == lines);
    CHECK(ctl({"journal", "replay-to", nowhere(dir), "-d", state, "--retry-for", "0"}).code == 69);

    // One payload in the midst, written over.
    const std::string segment = state + "/journal/segment-000001";
    const std::size_t at = test::text_of(segment).find("{\"k\":7}");
    REQUIRE(at != std::string::npos);
    std::fstream file(segment, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(at)).put('x');
    file.close();
    const Said verify = ctl({"journal", "verify", "-d", state});
    CHECK(verify.code == 1);
    CHECK(has(verify.output, "broken segment=segment-000001 offset="));
    CHECK(has(verify.output, "unfinished=199 broken=1"));

    // A start says the same, delivers the rest, and sets the segment aside.
    const std::string where = verify.output.substr(7, verify.output.find('\n') - 7);
    Daemon last({"--state-dir", state, "--sink", "file:" + sink + "-too?format=raw", "--workers", "1"});
    CHECK(test::wait_status_number(last.admin(), "kept", 0, 20s));
    const test::Ended ended = last.stop();
    INFO("it said:\n", ended.errors);
    CHECK(ended.code == 4);
    REQUIRE(ended.report);
    CHECK(ended.report->replayed == 200);
    CHECK(ended.report->delivered == 199);
    CHECK(ended.report->lost == 1);
    CHECK(has(ended.errors, "the journal is damaged " + where));
    CHECK(std::filesystem::exists(segment + ".damaged"));
    CHECK_FALSE(std::filesystem::exists(segment));
    const std::size_t broken = lines.find("{\"k\":7}");
    CHECK(test::text_of(sink + "-too") == lines.substr(0, broken) + lines.substr(lines.find('\n', broken) + 1));
    const Said afterwards = ctl({"journal", "verify", "-d", state});
    CHECK(afterwards.code == 0);
    CHECK(has(afterwards.output, "unfinished=0 broken=0"));
  }

  TEST_CASE("ctl: a replay that is interrupted says how far it came, and the same command goes on behind that") {
    const test::TempDir dir;
    const std::string state = (dir.path() / "state").string();
    std::string lines;
    for (int i = 100; i < 300; ++i) lines += fmt::format("{}\n", i);
    {
      Daemon hung({"--state-dir", state, "--sink", "null:?hang=true"});
      CHECK(ctl({"send", file_of(dir, lines), "--to", hung.address()}).code == 0);
      hung.process().signal(9);
      static_cast<void>(hung.process().wait_exit(20s));
    }
    const std::string address = "unix:" + (dir.path() / "socket").string();
    {
      Daemon full({"--listen", address, "--queue-events", "50", "--overflow", "reject", "--sink", "null:?hang=true",
                   "--workers", "1"});
      test::Process replay({test::program(SLUICECTL_PATH), "journal", "replay-to", address, "-d", state, "--batch",
                            "10", "--retry-for", "1h"},
                           {});
      CHECK(test::wait_status_number(full.admin(), "accepted", 50, 20s));
      replay.signal(2);
      const auto exit = replay.wait_exit(20s);
      REQUIRE(exit.has_value());
      CHECK(exit->code == 1);
      CHECK(replay.output() == "accepted=50 refused=0 unknown=0 unsent=150\n");
      CHECK(has(replay.errors(), "sluicectl: interrupted\n"));
      CHECK(has(replay.errors(), "has accepted is remembered in " + state + "/replay-"));
      full.process().signal(9);
      static_cast<void>(full.process().wait_exit(20s));
    }
    const std::string sink = (dir.path() / "sink").string();
    Daemon other({"--listen", address, "--sink", "file:" + sink + "?format=raw", "--workers", "1"});
    const Said rest = ctl({"journal", "replay-to", address, "-d", state});
    CHECK(rest.code == 0);
    CHECK(rest.output == "accepted=150 refused=0 unknown=0 unsent=0 already=50\n");
    CHECK(other.stop().code == 0);
    CHECK(test::text_of(sink) == lines.substr(50 * 4));
  }

  TEST_CASE("ctl: a journal of a newer version is refused by a start in one line, and not a byte of it is touched") {
    const test::TempDir dir;
    const std::filesystem::path state = dir.path() / "state";
    const std::string sink = (dir.path() / "sink").string();
    const test::Flags flags{"--state-dir", state.string(), "--listen", "127.0.0.1:0",
                            "--admin",     "none",         "--sink",   "null:"};
    {
      Daemon hung({"--state-dir", state.string(), "--sink", "null:?hang=true", "--drain-timeout", "100ms"});
      CHECK(ctl({"send", file_of(dir, "{\"k\":1}\n{\"k\":2}\n"), "--to", hung.address()}).code == 0);
      CHECK(hung.stop().code == 3);
    }
    const std::filesystem::path newer = state / "journal" / "segment-000002";
    REQUIRE_FALSE(std::filesystem::exists(newer));
    const std::string header = header_of_version_9();
    std::ofstream(newer, std::ios::binary) << header << std::string(4096 - header.size(), '\0') << header << "more";

    const auto before = files_of(state / "journal");
    const test::Ended refused = test::run_to_end(flags);
    INFO("it said:\n", refused.errors);
    CHECK(refused.code == 78);
    CHECK(std::count(refused.errors.begin(), refused.errors.end(), '\n') == 1);
    CHECK(has(refused.errors, "segment-000002 is of version 9, this program reads up to 2"));
    const Said verify = ctl({"journal", "verify", "-d", state.string()});
    CHECK(verify.code == 1);
    CHECK(has(verify.output, "newer segment=segment-000002 version=9\n"));
    CHECK(files_of(state / "journal") == before);

    // Without it, all is as it was.
    std::filesystem::remove(newer);
    Daemon last({"--state-dir", state.string(), "--sink", "file:" + sink + "?format=raw", "--workers", "1"});
    CHECK(test::wait_status_number(last.admin(), "kept", 0, 20s));
    CHECK(last.stop().code == 0);
    CHECK(test::text_of(sink) == "{\"k\":1}\n{\"k\":2}\n");
  }
}
