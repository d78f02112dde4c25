// Sinks under fault, beneath the real daemon: disks that fill up, databases that are locked, removed or overwritten,
// files that go from under it, pipes that nobody reads any more. What was accepted is tried again until it stands in
// the sink, once, each line whole; the stop keeps its deadline meanwhile; the log says why, once, and then now and
// again.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "support/client.h"
#include "support/control.h"
#include "support/daemon.h"
#include "support/database.h"
#include "support/delivered.h"
#include "support/environment.h"
#include "support/lives.h"
#include "support/load.h"
#include "support/producer.h"
#include "support/say.h"
#include "support/small_disk.h"

namespace {

using namespace std::chrono_literals;
using test::Daemon;
using test::Database;
using test::kMiB;
using test::lines_with;
using test::Lives;
using test::milliseconds;
using test::Producer;
using test::SmallDisk;
using test::wait_status_number;

constexpr std::string_view kFailed = "sink failed, trying again";
constexpr milliseconds kStop = 300ms;
const test::Flags kStopsSoon{"--drain-timeout", "300ms", "--retry-max", "200ms"};

// Every line of it, whole: from the bracket that begins one to the two that end it, and nothing behind the last.
void check_whole_lines(const std::filesystem::path& file) {
  const std::string text = test::text_of(file);
  CHECK((text.empty() || text.ends_with('\n')));
  std::size_t torn = 0;
  for (const std::string& line : test::lines_of(file)) {
    torn += line.starts_with("{\"id\":\"") && line.ends_with("}}") && lines_with(line, "{\"id\":") == 1 ? 0 : 1;
  }
  CHECK(torn == 0);
}

// All files hold the first so many events, each once.
void check_files(const std::vector<std::filesystem::path>& files, std::size_t events) {
  std::vector<unsigned> times(events);
  for (const auto& file : files) {
    INFO(file.string());
    check_whole_lines(file);
    const auto found = test::delivered_to_file(file, events);
    std::ranges::transform(times, found, times.begin(), std::plus<>());
  }
  CHECK(std::ranges::count(times, 0U) == 0);
  CHECK(std::ranges::count_if(times, [](unsigned n) { return n > 1; }) == 0);
}

// The stop of a life whose sink takes nothing at the moment.
test::Ended stop_in_time(Daemon& daemon) {
  test::Control control(kStop);
  control.start();
  test::Ended ended = daemon.stop();
  CHECK(ended.after - kStop <= 100ms + control.lateness());
  CHECK(ended.code == 3);
  REQUIRE(ended.report);
  CHECK(ended.report->balanced());
  CHECK(ended.report->lost == 0);
  CHECK(ended.report->dead == 0);
  CHECK(ended.report->kept > 0);
  return ended;
}

// Ten seconds behind the first line a second one tells of all that were passed over.
void check_told_again(Daemon& daemon) {
  const auto since = test::Clock::now();
  while (lines_with(daemon.process().errors(), kFailed) < 2 && test::Clock::now() - since < 30s) {
    std::this_thread::sleep_for(10ms);  // between looks
  }
  CHECK(test::Clock::now() - since > 9s);
  const std::string said = daemon.process().errors();
  CHECK(lines_with(said, kFailed) == 2);
  CHECK(lines_with(said, " failures=1 ") == 1);
}

void write_in_place(const std::filesystem::path& file, const std::string& bytes) {
  std::fstream out(file, std::ios::in | std::ios::out | std::ios::binary);
  REQUIRE(out.write(bytes.data(), static_cast<std::streamsize>(bytes.size())).flush());
}

// All its threads have stopped; false if they have not within 10 s.
bool wait_stopped(pid_t pid) {
  const auto is_stopped = [](const std::filesystem::directory_entry& thread) {
    const std::string stat = test::text_of(thread.path() / "stat");
    const std::size_t name_ends = stat.rfind(')');  // proc(5)
    return name_ends != std::string::npos && stat.substr(name_ends, 3) == ") T";
  };
  const std::filesystem::directory_iterator none;
  for (const auto end = test::Clock::now() + 10s; test::Clock::now() < end; std::this_thread::yield()) {
    const std::filesystem::directory_iterator threads("/proc/" + std::to_string(pid) + "/task");
    if (std::all_of(threads, none, is_stopped)) return true;
  }
  return false;
}

}  // namespace

TEST_SUITE("daemon.sink_fault") {
  TEST_CASE("sink fault: a disk that fills up: told once and then now and again, and all is there once there is room") {
    if (test::cannot_mount()) return;
    for (const bool sqlite : {false, true}) {
      const std::string kind = sqlite ? "sqlite" : "file";
      INFO(kind);
      const SmallDisk disk(12 * kMiB, 11 * kMiB);
      const auto sink = disk.path() / "sink";
      const std::string url = kind + ":" + sink.string();
      const Lives lives(test::with(kStopsSoon, {"--workers", "2"}));
      std::size_t events = 0;
      std::size_t kept = 0;
      {
        Daemon daemon(lives.flags(url));
        Producer producer(daemon);
        for (int i = 0; i < 25; ++i) REQUIRE(producer.post_one().status == 202);  // 2.5 MB, that is more than fits
        events = producer.told().acknowledged;
        REQUIRE(daemon.process().wait_line(kFailed, 20s));
        const auto told = daemon.process().wait_line(kFailed, 0s);
        CHECK(lines_with(*told, sqlite ? "disk is full" : "No space left on device") == 1);
        CHECK(lines_with(*told, sink.string()) == 1);
        CHECK(lines_with(*told, " failures=1 ") == 1);
        if (!sqlite) check_told_again(daemon);
        CHECK(test::ask_once(daemon.address(), test::get("/readyz")).status == 200);  // it still takes events

        const test::Ended ended = stop_in_time(daemon);
        CHECK(ended.report->delivered > 0);
        kept = ended.report->kept;
        if (!sqlite) check_whole_lines(sink);
      }
      Daemon daemon(lives.flags(url));
      CHECK(daemon.process().wait_line(kFailed, 20s));
      disk.drop_ballast();
      CHECK(wait_status_number(daemon.admin(), "kept", 0, 20s));
      const test::Ended ended = daemon.stop();
      CHECK(ended.code == 0);
      REQUIRE(ended.report);
      CHECK(ended.report->replayed == kept);
      CHECK(ended.report->delivered == kept);
      if (sqlite) {
        const auto found = test::delivered_to_sqlite(sink, events);
        CHECK(std::ranges::count(found, 1) == static_cast<std::ptrdiff_t>(events));
      } else {
        check_files({sink}, events);
      }
    }
  }

  TEST_CASE("sink fault: a database that another process locks for two seconds is waited for, and nothing is told") {
    const Lives lives({"--workers", "2"});
    Daemon daemon(lives.flags(lives.sqlite()));
    {
      Database other(lives.sink());
      other.run("BEGIN IMMEDIATE");
      const auto until = test::Clock::now() + 2s;
      Producer producer(daemon);
      for (int i = 0; i < 10; ++i) REQUIRE(producer.post_one().status == 202);
      std::this_thread::sleep_until(until);
      CHECK(test::status_number(daemon.admin(), "kept") == 1000);
      other.run("COMMIT");
    }
    CHECK(wait_status_number(daemon.admin(), "kept", 0, 10s));
    const test::Ended ended = daemon.stop();
    CHECK(ended.code == 0);
    CHECK(lines_with(ended.errors, kFailed) == 0);
    lives.check_sqlite(1000);
  }

  TEST_CASE("sink fault: a database that is locked at the start: ready as ever, and all is delivered once it is free") {
    const Lives lives({"--workers", "8"});
    std::optional<Database> other(std::in_place, lives.sink());
    other->run("BEGIN EXCLUSIVE");
    const auto began = test::Clock::now();
    Daemon daemon(lives.flags(lives.sqlite()));
    CHECK(test::Clock::now() - began < 2s);  // with five seconds for each worker it was 40
    test::feed(daemon, 1000);
    CHECK(daemon.process().wait_line(kFailed, 20s));
    CHECK(test::ask_once(daemon.address(), test::get("/readyz")).status == 200);
    CHECK(test::status_number(daemon.admin(), "kept") == 1000);
    other.reset();
    CHECK(wait_status_number(daemon.admin(), "kept", 0, 20s));
    const test::Ended ended = daemon.stop();
    CHECK(ended.code == 0);
    CHECK(lines_with(ended.errors, "the sink does not work yet, events wait: open " + lives.sink().string()) == 1);
    CHECK(lines_with(ended.errors, kFailed) == 1);
    lives.check_sqlite(1000);
  }

  TEST_CASE("sink fault: the log of a database is removed beside the daemon: what was acknowledged survives a kill") {
    for (const bool index_too : {true, false}) {
      CAPTURE(index_too);
      const Lives lives({"--workers", "2"});
      {
        Daemon daemon(lives.flags(lives.sqlite()));
        Producer producer(daemon);
        REQUIRE(producer.post_one().status == 202);
        REQUIRE(wait_status_number(daemon.admin(), "kept", 0, 10s));
        std::filesystem::remove(lives.sink().string() + "-wal");
        if (index_too) std::filesystem::remove(lives.sink().string() + "-shm");
        for (int i = 0; i < 5; ++i) REQUIRE(producer.post_one().status == 202);
        REQUIRE(wait_status_number(daemon.admin(), "kept", 0, 10s));
        CHECK(daemon.process().wait_line("-wal was deleted or replaced", 1s));
        daemon.process().signal(SIGKILL);
        static_cast<void>(daemon.wait_end());
      }
      CHECK(lives.drained(lives.sqlite()).code == 0);
      lives.check_sqlite(600);
    }
  }

  TEST_CASE("sink fault: somebody writes to a database whose log was removed: neither his rows are lost nor ours") {
    const Lives lives({"--workers", "2"});
    const auto rescued = lives.sink().string() + ".rescued-1";
    Daemon daemon(lives.flags(lives.sqlite()));
    Producer producer(daemon);
    REQUIRE(producer.post_one().status == 202);
    REQUIRE(wait_status_number(daemon.admin(), "kept", 0, 10s));
    {
      Database other(lives.sink());
      CHECK(other.ask("PRAGMA wal_checkpoint(TRUNCATE)") == "0,0,0");
    }
    REQUIRE(producer.post_one().status == 202);
    REQUIRE(wait_status_number(daemon.admin(), "kept", 0, 10s));
    daemon.process().signal(SIGSTOP);  // or it is quicker than we, and nothing has to be rescued
    REQUIRE(wait_stopped(daemon.process().pid()));
    for (const char* beside : {"-wal", "-shm"}) std::filesystem::remove(lives.sink().string() + beside);
    Database other(lives.sink());
    other.run("CREATE TABLE his(x); INSERT INTO his VALUES(7)");
    daemon.process().signal(SIGCONT);
    REQUIRE(producer.post_one().status == 202);
    REQUIRE(wait_status_number(daemon.admin(), "kept", 0, 10s));
    CHECK(daemon.process().wait_line("all that was in the database before is in " + rescued, 1s));
    CHECK(daemon.stop().code == 0);
    CHECK(other.ask("SELECT x FROM his") == "7");
    CHECK(other.ask("SELECT count(*) FROM events") == "200");
    CHECK(other.ask("PRAGMA integrity_check") == "ok");
    CHECK(Database(rescued).ask("SELECT count(*) FROM events") == "200");
  }

  TEST_CASE("sink fault: a database that is removed is made anew, and has each event that came after") {
    const Lives lives({"--workers", "2"});
    Daemon daemon(lives.flags(lives.sqlite()));
    test::feed(daemon, 100);
    REQUIRE(wait_status_number(daemon.admin(), "kept", 0, 10s));
    for (const char* beside : {"", "-wal", "-shm"}) std::filesystem::remove(lives.sink().string() + beside);
    Producer producer(daemon);
    for (int i = 0; i < 5; ++i) REQUIRE(producer.post_one().status == 202);
    CHECK(wait_status_number(daemon.admin(), "kept", 0, 10s));
    const test::Ended ended = daemon.stop();
    CHECK(ended.code == 0);
    CHECK(lines_with(ended.errors, "anew: it was deleted or replaced") == 1);
    lives.check_sqlite(500);
  }

  TEST_CASE("sink fault: a database that is overwritten takes nothing until it is mended, and then all, once") {
    const Lives lives(test::with(kStopsSoon, {"--workers", "2"}));
    std::optional<Daemon> daemon(lives.flags(lives.sqlite()));
    Producer producer(*daemon);
    REQUIRE(producer.post_one().status == 202);
    REQUIRE(wait_status_number(daemon->admin(), "kept", 0, 10s));
    // All that was committed, in the one file; the daemon has to look there again.
    const auto gather = [&] {
      Database other(lives.sink());
      CHECK(other.ask("PRAGMA wal_checkpoint(TRUNCATE)") == "0,0,0");
      return test::text_of(lives.sink());
    };
    std::string whole = gather();
    const auto spoil = [&] { write_in_place(lives.sink(), std::string(whole.size(), 'x')); };

    spoil();
    REQUIRE(producer.post_one().status == 202);
    const auto told = daemon->process().wait_line(kFailed, 10s);
    REQUIRE(told);
    CHECK(lines_with(*told, "file is not a database") == 1);
    CHECK(lines_with(*told, lives.sink().string()) == 1);
    CHECK(test::status_number(daemon->admin(), "kept") == 100);
    write_in_place(lives.sink(), whole);
    CHECK(wait_status_number(daemon->admin(), "kept", 0, 10s));

    whole = gather();
    spoil();
    REQUIRE(producer.post_one().status == 202);
    const test::Ended ended = stop_in_time(*daemon);
    CHECK(ended.report->kept == 100);
    CHECK(lines_with(ended.errors, kFailed) <= 2);
    daemon.reset();

    const test::Ended refused =
        test::run_to_end(lives.flags(lives.sqlite(), {"--listen", "127.0.0.1:0", "--admin", "none"}));
    CHECK(refused.code == 78);
    CHECK(lines_with(refused.errors, lives.sink().string() + ": file is not a database") == 1);
    write_in_place(lives.sink(), whole);
    lives.drain(lives.sqlite(), 100);
    lives.check_sqlite(300);
  }

  TEST_CASE(
      "sink fault: files that are renamed and deleted, with a hang-up and without, hold each line once and whole") {
    const Lives lives({"--workers", "4", "--drain-timeout", "20s"});
    Daemon daemon(lives.flags(lives.file()));
    test::LoadPlan plan;
    plan.address = daemon.address();
    plan.mode = test::Mode::ndjson;
    plan.connections = 8;
    test::Load load(plan);
    std::vector<std::filesystem::path> files;
    for (std::size_t i = 0; i < 12; ++i) {
      REQUIRE(load.wait_acknowledged(2000 * (i + 1), 20s));
      const auto until = test::Clock::now() + 10s;
      while (!std::filesystem::exists(lives.sink()) && test::Clock::now() < until) std::this_thread::yield();
      const auto aside = files.emplace_back(lives.sink().string() + fmt::format(".{}", i));
      if (i % 2 == 0) {
        std::filesystem::rename(lives.sink(), aside);
      } else {  // what was in a deleted one can still be counted under this name
        std::filesystem::create_hard_link(lives.sink(), aside);
        std::filesystem::remove(lives.sink());
      }
      if (i % 4 < 2) daemon.process().signal(SIGHUP);
    }
    REQUIRE(load.wait_acknowledged(2000 * 13, 20s));
    load.stop();
    const test::Fates told = load.fates();
    CHECK(told.unknown == 0);
    CHECK(told.refused == 0);
    const test::Ended ended = daemon.stop();
    INFO("it said:\n", ended.errors);
    CHECK(ended.code == 0);
    CHECK(lines_with(ended.errors, kFailed) == 0);
    files.push_back(lives.sink());
    check_files(files, told.acknowledged);
    const auto opened_anew = lines_with(ended.errors, "anew: it was deleted or renamed");
    CHECK(opened_anew >= 1);
    CHECK(opened_anew <= 12);
  }

  TEST_CASE("sink fault: two daemons may share a database, and it has the events of both, each once") {
    constexpr std::size_t kHalf = 5000;
    const Lives one({"--workers", "2"});
    const Lives other({"--workers", "2"});
    Daemon first(one.flags(one.sqlite()));
    Daemon second(other.flags(one.sqlite()));
    std::vector<std::unique_ptr<test::Load>> loads;
    for (const Daemon* daemon : {&first, &second}) {
      test::LoadPlan plan;
      plan.address = daemon->address();
      plan.mode = test::Mode::ndjson;
      plan.connections = 4;
      plan.first_event = kHalf * loads.size();
      plan.most_events = kHalf * (loads.size() + 1);
      loads.push_back(std::make_unique<test::Load>(plan));
    }
    for (const auto& load : loads) CHECK(load->fates().acknowledged == kHalf);
    CHECK(wait_status_number(first.admin(), "kept", 0, 20s));
    CHECK(wait_status_number(second.admin(), "kept", 0, 20s));
    CHECK(first.stop().code == 0);
    CHECK(second.stop().code == 0);
    one.check_sqlite(2 * kHalf);
  }

  TEST_CASE("sink fault: whoever reads standard output leaves: kept, told once, the stop in time, no line torn") {
    const Lives lives(test::with(kStopsSoon, {"--workers", "2"}));
    const auto socket = lives.state().parent_path() / "socket";
    const std::string address = "unix:" + socket.string();
    // The shell becomes the daemon; its output goes to a `head` that takes three lines and leaves.
    test::Flags command{"/bin/bash", "-c", "exec \"$0\" \"$@\" > >(exec /usr/bin/head -n 3)",
                        test::program(SLUICED_PATH)};
    command = test::with(command, lives.flags("stdout:", {"--listen", address, "--admin", "none"}));
    test::Process process(command, {});
    REQUIRE(process.wait_line("ready run=", 20s));
    for (std::size_t k = 0; k < 10; ++k) {
      REQUIRE(test::ask_once(address, test::batch(100 * k, 100)).status == 202);
    }
    const auto told = process.wait_line(kFailed, 10s);
    REQUIRE(told);
    CHECK(lines_with(*told, "write standard output: Broken pipe") == 1);

    test::Control control(kStop);
    control.start();
    const auto signalled = test::Clock::now();
    process.signal(SIGTERM);
    const auto exit = process.wait_exit(20s);
    REQUIRE(exit);
    CHECK(exit->at - signalled <= kStop + 100ms + control.lateness());
    CHECK(exit->code == 3);
    CHECK(lines_with(process.errors(), kFailed) == 1);
    const std::string said = process.errors();
    const auto last = said.find("stopped reason=");
    REQUIRE(last != std::string::npos);
    const auto report = test::report_in_line(said.substr(last, said.find('\n', last) - last));
    REQUIRE(report);
    CHECK(report->balanced());
    CHECK(report->accepted == 1000);
    CHECK(report->lost == 0);
    CHECK(report->kept > 0);

    CHECK(lines_with(process.output(), "}}\n") == 3);
    CHECK(process.output().ends_with("}}\n"));
    // What the pipe had taken is delivered; all else comes now.
    lives.drain(lives.file(), report->kept);
    check_whole_lines(lives.sink());
    CHECK(test::lines_of(lives.sink()).size() == report->kept);
  }
}
