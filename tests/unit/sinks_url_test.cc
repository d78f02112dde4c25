// Sink URLs and the null sink: what is taken, what is refused and in which words.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "sinks/sink_url.h"
#include "sinks_support.h"

namespace {

using namespace sinks_test;
using namespace std::chrono_literals;
using sluice::Verdict;

sluice::NullBehaviour null_of(std::string_view url) {
  const sluice::SinkUrl parsed = sluice::parse_sink_url(url);
  REQUIRE(std::holds_alternative<sluice::NullBehaviour>(parsed));
  return std::get<sluice::NullBehaviour>(parsed);
}

TEST_CASE("sink url: what the README allows is taken") {
  for (const char* url :
       {"null:", "null:?delay=0&fail=0.5&refuse=1&hang=false&spin=false", "stdout:", "stdout:?format=raw",
        "stdout:?format=json", "file:a", "file:/a/b?format=raw", "file:///a/b", "sqlite:/a/b.db"}) {
    CAPTURE(url);
    CHECK(sluice::complaint_about(url) == std::nullopt);
  }
}

TEST_CASE("sink url: every wrong one is told in one line that names it and what is allowed") {
  struct Wrong {
    const char* url;
    const char* says;
  };
  for (const auto& [url, says] : {
           Wrong{"", "allowed are null: stdout: file:PATH sqlite:PATH"},
           Wrong{"file", "allowed are null:"},
           Wrong{"kafka:x", "no such sink"},
           Wrong{"null:x", "no path goes here"},
           Wrong{"stdout:x", "no path goes here"},
           Wrong{"file:", "the path is missing"},
           Wrong{"sqlite:", "the path is missing"},
           Wrong{"sqlite::memory:", "keeps nothing"},
           Wrong{"file://host/a", "another host"},
           Wrong{"file:a?fromat=raw", "\"fromat\"; allowed: format"},
           Wrong{"file:a?format=xml", "format=xml must be json or raw"},
           Wrong{"sqlite:a?x=1", "\"x\"; allowed: none"},
           Wrong{"null:?", "no such parameter"},
           Wrong{"null:?delay=1", "delay=1 must be 0 or an integer with us, ms, s, min or h"},
           Wrong{"null:?delay=-1s", "delay=-1s"},
           Wrong{"null:?delay=1.5s", "delay=1.5s"},
           Wrong{"null:?delay=", "delay="},
           Wrong{"null:?delay=9999999999h", "delay=9999999999h"},
           Wrong{"null:?fail=1.01", "fail=1.01 must be a number from 0 to 1"},
           Wrong{"null:?fail=nan", "fail=nan"},
           Wrong{"null:?refuse=x", "refuse=x"},
           Wrong{"null:?hang", "hang= must be true or false"},
       }) {
    CAPTURE(url);
    const auto complaint = sluice::complaint_about(url);
    REQUIRE(complaint);
    CHECK(complaint->find(says) != std::string::npos);
    CHECK(complaint->find('\n') == std::string::npos);
    CHECK(refusal_of(url).kind == sluice::StartError::Kind::usage);
    CHECK(refusal_of(url).what == *complaint);
  }
}

TEST_CASE("sink url: durations have their units") {
  CHECK(null_of("null:?delay=7us").delay == 7us);
  CHECK(null_of("null:?delay=7ms").delay == 7ms);
  CHECK(null_of("null:?delay=7s").delay == 7s);
  CHECK(null_of("null:?delay=7min").delay == 7min);
  CHECK(null_of("null:?delay=7h").delay == 7h);
  CHECK(null_of("null:?delay=0").delay == 0s);
  CHECK(null_of("null:?hang=true").hang);
  CHECK(null_of("null:?spin=true").spin);
}

TEST_CASE("null sink: delivers, fails and refuses as it is told") {
  Batch batch;
  for (int i = 0; i < 100; ++i) batch.add("{}");
  const auto answers = [&](const char* url) { return deliver(*sluice::sinks_for(url, {})(), batch); };
  CHECK(all(answers("null:"), Verdict::delivered));
  CHECK(all(answers("null:?fail=1"), Verdict::try_again));
  CHECK(all(answers("null:?refuse=1&fail=1"), Verdict::refused));
  CHECK(sluice::sinks_for("null:", {})()->name() == "null");

  std::size_t refused = 0;
  for (const Verdict& verdict : answers("null:?refuse=0.5")) refused += verdict.kind() == Verdict::refused ? 1 : 0;
  CHECK(refused > 10);  // of 100, at even chances
  CHECK(refused < 90);
}

TEST_CASE("null sink: a stop cuts its delay short, and the events are to be tried again") {
  const auto sink = sluice::sinks_for("null:?delay=1h", {})();
  std::stop_source stop;
  std::vector<Verdict> verdicts;
  std::thread worker([&] { verdicts = deliver(*sink, Batch().add("{}"), stop.get_token()); });
  stop.request_stop();
  worker.join();
  CHECK(all(verdicts, Verdict::try_again));
}

TEST_CASE("null sink: hang and spin ignore their stop token") {
  for (const char* url : {"null:?hang=true", "null:?spin=true"}) {
    CAPTURE(url);
    const ::pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      std::stop_source stop;
      stop.request_stop();
      deliver(*sluice::sinks_for(url, {})(), Batch().add("{}"), stop.get_token());
      ::_exit(0);
    }
    // It cannot be proved that it never returns; that it has not for a while has to do.
    int status = 0;
    ::pid_t ended = 0;
    const auto until = std::chrono::steady_clock::now() + 50ms;
    while (ended == 0 && std::chrono::steady_clock::now() < until) ended = ::waitpid(child, &status, WNOHANG);
    CHECK(ended == 0);
    ::kill(child, SIGKILL);
    if (ended == 0) ::waitpid(child, &status, 0);
  }
}

}  // namespace
