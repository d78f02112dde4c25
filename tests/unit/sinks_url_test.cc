// Sink URLs and the null sink: what is taken, what is refused and in which words.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

#include "sinks/sink_url.h"
#include "sinks_support.h"
#include "sluice/error.h"
#include "sluice/sinks.h"
#include "sluice/tracker.h"

namespace {

using namespace sinks_test;
using namespace std::chrono_literals;
using sluice::Verdict;

sluice::NullBehaviour null_of(std::string_view url) {
  const sluice::SinkUrl parsed = sluice::parse_sink_url(url);
  REQUIRE(std::holds_alternative<sluice::NullBehaviour>(parsed));
  return std::get<sluice::NullBehaviour>(parsed);
}

TEST_CASE("sink url: what sluiced-sinks(7) allows is taken") {
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
  const auto answers = [&](const char* url) { return deliver(*sluice::sinks_for(url)({}), batch); };
  CHECK(all(answers("null:"), Verdict::delivered));
  CHECK(all(answers("null:?fail=1"), Verdict::try_again));
  CHECK(all(answers("null:?refuse=1&fail=1"), Verdict::refused));
  CHECK(sluice::sinks_for("null:")({})->name() == "null");

  std::size_t refused = 0;
  for (const Verdict& verdict : answers("null:?refuse=0.5")) refused += verdict.kind() == Verdict::refused ? 1 : 0;
  CHECK(refused > 10);  // of 100, at even chances
  CHECK(refused < 90);
}

TEST_CASE("null sink: a stop cuts its delay short, and the events are to be tried again") {
  const auto sink = sluice::sinks_for("null:?delay=1h")({});
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
      deliver(*sluice::sinks_for(url)({}), Batch().add("{}"), stop.get_token());
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

TEST_CASE("sink url: no user, password or token is shown, however it is written") {
  struct Hidden {
    std::string_view url, shown;
  };
  for (const Hidden& one : {
           Hidden{"postgresql://ann:s3cret@db:5432/x?table=events", "postgresql://***@db:5432/x?table=events"},
           Hidden{"postgresql://ann@db/x", "postgresql://***@db/x"},
           Hidden{"redis://:s3cret@cache/0", "redis://***@cache/0"},
           Hidden{"redis://s3cret@cache", "redis://***@cache"},
           Hidden{"nats://s3cret@n1:4222,nats://ann:s3cret@n2:4222/subject", "nats://***@n2:4222/subject"},
           Hidden{"nats://n1:4222,n2:4222/subject", "nats://n1:4222,n2:4222/subject"},
           Hidden{"http://[::1]:80/x", "http://[::1]:80/x"},
           Hidden{"http://ann:s3cret@[::1]:80/x", "http://***@[::1]:80/x"},
           Hidden{"HTTPS://ANN:S3CRET@h/", "HTTPS://***@h/"},
           // What should have been escaped.
           Hidden{"redis://:s3@cret@cache/0", "redis://***@cache/0"},
           Hidden{"redis://:s3/cret@cache/0", "redis://***@cache/0"},
           Hidden{"redis://:s3?cret@cache/0", "redis://***@cache/0"},
           Hidden{"redis://:s3#cret@cache/0", "redis://***@cache/0"},
           Hidden{"redis://ann@x:s3?cret@cache/0", "redis://***@cache/0"},
           Hidden{"redis://ann:s3?cre@t@cache/0", "redis://***@cache/0"},
           // No host, or no slashes.
           Hidden{"redis://ann:s3cret", "redis://***"},
           Hidden{"redis://ann:s3cret/0", "redis://***/0"},
           Hidden{"redis:ann:s3cret@cache", "***@cache"},
           Hidden{"ann:s3cret@cache:80/x", "***@cache:80/x"},
           Hidden{"http:\\\\ann:s3cret@h", "***@h"},
           Hidden{"host=db password=s3cret", "host=db password=***"},
           // Values.
           Hidden{"https://h/x?token=s3cret", "https://h/x?token=***"},
           Hidden{"https://h/x?a=1&Access_Token=s3cret&b=2", "https://h/x?a=1&Access_Token=***&b=2"},
           Hidden{"https://h/x?api-key=s3cret", "https://h/x?api-key=***"},
           Hidden{"https://h/x?X-Amz-Signature=s3&X-Amz-Credential=c",
                  "https://h/x?X-Amz-Signature=***&X-Amz-Credential=***"},
           Hidden{"https://h/x?pass%77ord=s3cret", "https://h/x?pass%77ord=***"},
           Hidden{"https://h/x?auth[token]=s3cret", "https://h/x?auth[token]=***"},
           Hidden{"https://h/x?password=s3&cret&a=1", "https://h/x?password=***&***&a=1"},
           Hidden{"https://h/x?password=s3=cret", "https://h/x?password=***"},
           Hidden{"https://h/x?password=s3#cret", "https://h/x?password=***"},
           Hidden{"https://h/x#access_token=s3cret", "https://h/x#access_token=***"},
           Hidden{"https://h/x;token=s3cret", "https://h/x;token=***"},
           Hidden{"https://h/x?token=", "https://h/x?token=***"},
           Hidden{"https://ann:s3cret@h/x?sig=s3cret", "https://***@h/x?sig=***"},
           Hidden{"exec:/bin/send?arg=--password=s3cret", "exec:/bin/send?arg=--password=***"},
           Hidden{"file://ann:s3cret@h/x", "file://***@h/x"},
           // A URL within the URL.
           Hidden{"https://h/x?proxy=http://ann:s3cret@p:1&a=1", "https://h/x?proxy=http://***@p:1&a=1"},
           Hidden{"https://h/x?to=http%3A%2F%2Fann%3As3cret%40p", "https://h/x?to=http%3A%2F%2F***%40p"},
           Hidden{"exec:/bin/send?arg=http://ann:s3cret@p/", "exec:/bin/send?arg=http://***@p/"},
           Hidden{"https://h/x?to=http://p/?token=s3cret", "https://h/x?to=http://p/?token=***"},
           // No secrets.
           Hidden{"postgresql://db/x?password-file=/etc/p&sslkey_path=/k",
                  "postgresql://db/x?password-file=/etc/p&sslkey_path=/k"},
           Hidden{"https://h/x?from=ann@example.com", "https://h/x?from=ann@example.com"},
           Hidden{"https://h/x?passive=true&bypass=1", "https://h/x?passive=true&bypass=***"},
           Hidden{"file:/srv/a@b/token=5/x?format=raw", "file:/srv/a@b/token=5/x?format=raw"},
           Hidden{"file:///srv/a:b@c", "file:///srv/a:b@c"},
           Hidden{"sqlite:/var/lib/x/events.db", "sqlite:/var/lib/x/events.db"},
           Hidden{"null:?delay=1ms&fail=0.1", "null:?delay=1ms&fail=0.1"},
           Hidden{"stdout:", "stdout:"},
           Hidden{"handler", "handler"},
           Hidden{"", ""},
           Hidden{"//", "//"},
           Hidden{"@", "***@"},
           Hidden{"?", "?"},
       }) {
    CAPTURE(one.url);
    CHECK(sluice::redacted(one.url) == one.shown);
    CHECK(sluice::redacted(sluice::redacted(one.url)) == one.shown);  // what is hidden stays so
  }
}

TEST_CASE("sink url: a URL that is refused is named without its secrets") {
  for (const char* url : {"postgresql://ann:s3cret@db/x", "null://ann:s3cret@h", "file:/x?token=s3cret", "s3cret@h",
                          "stdout:?password=s3cret"}) {
    const auto complaint = sluice::complaint_about(url);
    REQUIRE(complaint);
    CHECK_MESSAGE(complaint->find("s3cret") == std::string::npos, *complaint);
    try {
      static_cast<void>(sluice::sinks_for(url));
      CHECK(false);
    } catch (const sluice::StartError& error) {
      CHECK(std::string_view(error.what()).find("s3cret") == std::string_view::npos);
    }
  }
}

TEST_CASE("sink url: a sink that calls itself by its URL shows no secret in the status or the log") {
  class Named final : public sluice::Sink {
   public:
    void deliver(std::span<const sluice::Delivery>, std::span<Verdict> verdicts, std::stop_token) override {
      for (Verdict& verdict : verdicts) verdict = {Verdict::refused, "no"};
    }
    [[nodiscard]] std::string_view name() const noexcept override { return "postgresql://ann:s3cret@db/x"; }
  };
  std::mutex mutex;
  std::string log;
  sluice::Tracker tracker({.workers = 1,
                           .state_dir = {},
                           .log =
                               [&](sluice::LogLevel, std::string_view line) {
                                 const std::lock_guard lock(mutex);
                                 log.append(line);
                               }},
                          [](const sluice::SinkContext&) { return std::make_unique<Named>(); });
  CHECK(tracker.track(sluice::Event("1")) == sluice::Admit::accepted);
  CHECK(tracker.status().workers.front().sink == "postgresql://***@db/x");
  static_cast<void>(tracker.shutdown(20s));
  const std::lock_guard lock(mutex);
  CHECK(log.find("sink=postgresql://***@db/x") != std::string::npos);
  CHECK(log.find("s3cret") == std::string::npos);
}
