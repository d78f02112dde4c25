// CloudEvents through the real daemon: what a sink gets back is the event that was sent, attribute by attribute, in
// each mode; what is none is refused, and nothing of it is taken.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "support/client.h"
#include "support/daemon.h"
#include "support/delivered.h"
#include "support/json_members.h"

namespace {

using test::Answer;
using test::Client;
using test::Daemon;
using test::Members;
using test::members_of;
using test::post;

constexpr const char* kStructured = "application/cloudevents+json; charset=utf-8";
constexpr const char* kBatch = "application/cloudevents-batch+json";

// Fields of an event in binary mode, and more of them.
std::string fields(std::string_view id, std::string_view more = {}) {
  return fmt::format("ce-specversion: 1.0\r\nce-id: {}\r\nce-source: /s\r\nce-type: t\r\n{}", id, more);
}

std::string event(std::string_view id, std::string_view more = {}) {
  return fmt::format(R"({{"specversion":"1.0","id":"{}","source":"/s","type":"t"{}}})", id, more);
}

// Such an event, with these members more.
Members members(const std::string& id, const Members& more = {}) {
  Members all = {{"specversion", "text 1.0"}, {"id", "text " + id}, {"source", "text /s"}, {"type", "text t"}};
  all.insert(more.begin(), more.end());
  return all;
}

std::vector<Members> members_of_all(const std::vector<std::string>& events) {
  std::vector<Members> all;
  for (const std::string& text : events) all.push_back(members_of(text));
  return all;
}

std::vector<std::string> ids_in(const std::vector<std::string>& events) {
  std::vector<std::string> ids;
  for (const std::string& text : events) ids.push_back(members_of(text).at("id").substr(5));
  return ids;
}

// A message, and the events that a sink must get for it.
struct Sent {
  std::string request;
  std::vector<Members> events;
};

std::vector<Sent> messages() {
  const std::string bytes("\0\x01\xfe\xff", 4);
  return {
      // Extensions of every type; JSON of any kind; line breaks; numbers that no double holds.
      {post(kStructured,
            event("s1", R"(,"xtext":"a\u00e9\n","xint":-2147483648,"xtrue":true,"xnull":null,"data":null)")),
       {members("s1", {{"xtext", "text aé\n"},
                       {"xint", "integer -2147483648"},
                       {"xtrue", "true"},
                       {"xnull", "null"},
                       {"data", "null"}})}},
      {post(kStructured,
            "{\n  \"data\" : [ 123456789012345678901234567890,\r\n 1e999, \"\\/\" ],\n  \"id\" : \"s2\",\n"
            "  \"type\" : \"t\",\n  \"source\" : \"/s\",\n  \"specversion\" : \"1.0\"\n}\n"),
       {members("s2", {{"data", R"(array [123456789012345678901234567890,1e999,"\/"])"}})}},
      {post("Application/CloudEvents+JSON",
            event("s3", R"(,"datacontenttype":"image/png","data_base64":"iVBORw0KGgo=")")),
       {members("s3", {{"datacontenttype", "text image/png"}, {"data_base64", "text iVBORw0KGgo="}})}},
      {post(kBatch, "[" + event("b1") + ",\r\n" + event("b2", R"(,"data":{"a":[1,2]},"time":"2018-04-05T17:31:00Z")") +
                        " , " + event("b3", R"(,"datacontenttype":"text/plain","data":"x")") + "]"),
       {members("b1"), members("b2", {{"data", R"(object {"a":[1,2]})"}, {"time", "text 2018-04-05T17:31:00Z"}}),
        members("b3", {{"datacontenttype", "text text/plain"}, {"data", "text x"}})}},
      {post("application/json; charset=utf-8", "{\"a\": [123456789012345678901234567890]}\n",
            fields("n1", "CE-XText: Euro%20%E2%82%AC%20%F0%9F%98%80\r\nce-xint: 5\r\nce-xquoted: \"a \\\"b\\\"\"\r\n")),
       {members("n1", {{"datacontenttype", "text application/json; charset=utf-8"},
                       {"xtext", "text Euro € 😀"},
                       {"xint", "text 5"},
                       {"xquoted", "text a \"b\""},
                       {"data", R"(object {"a":[123456789012345678901234567890]})"}})}},
      {post("text/plain", "line 1\r\nline \"2\"\xc3\xa4", fields("n2", "ce-subject: s\r\n")),
       {members(
           "n2",
           {{"datacontenttype", "text text/plain"}, {"subject", "text s"}, {"data", "text line 1\r\nline \"2\"ä"}})}},
      {post("application/octet-stream", bytes, fields("n3")),
       {members("n3", {{"datacontenttype", "text application/octet-stream"}, {"data_base64", "text AAH+/w=="}})}},
      {post("application/json", "", fields("n4")), {members("n4", {{"datacontenttype", "text application/json"}})}},
      // A message without a body and without a length has no data.
      {"POST /v1/events HTTP/1.1\r\nHost: test\r\n" + fields("n5") + "\r\n", {members("n5")}},
      // What the fields repeat counts only where the body does not say it all.
      {post(kStructured, event("s4"), "ce-specversion: 0.3\r\nce-id: other\r\nce-a_b: \xff\r\n"), {members("s4")}},
  };
}

std::vector<Members> wanted() {
  std::vector<Members> all;
  for (const Sent& message : messages()) all.insert(all.end(), message.events.begin(), message.events.end());
  return all;
}

void send_all(const Daemon& daemon) {
  Client client(daemon.address());
  for (const Sent& message : messages()) {
    CAPTURE(message.request);
    const Answer answer = client.ask(message.request);
    CHECK(answer.status == 202);
    CHECK_MESSAGE(answer.body.starts_with(fmt::format("{{\"accepted\":{},", message.events.size())), answer.body);
  }
}

// Sent on a connection of its own: refused like this, for these words.
void check_refused(const Daemon& daemon, const std::string& request, int status, std::string_view words,
                   std::optional<std::size_t> index = {}) {
  CAPTURE(request);
  const Answer answer = test::ask_once(daemon.address(), request);
  CHECK(answer.status == status);
  CHECK(answer.header("content-type") == "application/problem+json");
  const Members problem = members_of(answer.body);
  CHECK_MESSAGE(problem.at("detail").find(words) != std::string::npos, problem.at("detail"));
  CHECK(problem.contains("index") == index.has_value());
  if (index) CHECK(problem.at("index") == "integer " + std::to_string(*index));
}

}  // namespace

TEST_SUITE("daemon.cloud_events") {
  TEST_CASE("cloud events: a file gets the event that was sent, attribute by attribute, in each mode") {
    const test::TempDir dir;
    const auto file = dir.path() / "events";
    Daemon daemon({"--sink", "file:" + file.string(), "--workers", "1"});
    send_all(daemon);
    CHECK(daemon.stop().code == 0);
    CHECK(members_of_all(test::lines_of(file)) == wanted());
  }

  TEST_CASE("cloud events: SQLite gets the event that was sent, attribute by attribute, in each mode") {
    const test::TempDir dir;
    const auto file = dir.path() / "events.db";
    Daemon daemon({"--sink", "sqlite:" + file.string(), "--workers", "1"});
    send_all(daemon);
    CHECK(daemon.stop().code == 0);
    std::vector<Members> got = members_of_all(test::sqlite_column(file, "payload"));
    std::vector<Members> sent = wanted();
    std::sort(got.begin(), got.end());  // the table is read by id, and "…-10" comes before "…-2"
    std::sort(sent.begin(), sent.end());
    CHECK(got == sent);
    for (const std::string& type : test::sqlite_column(file, "content_type"))
      CHECK(type == "application/cloudevents+json");
    for (const std::string& type : test::sqlite_column(file, "typeof(payload)")) CHECK(type == "text");
  }

  TEST_CASE("cloud events: a stop and a start between the answer and the sink change nothing of an event") {
    const test::TempDir dir;
    const auto file = dir.path() / "events";
    const std::string state = (dir.path() / "state").string();
    {
      Daemon daemon({"--sink", "null:?fail=1", "--workers", "1", "--state-dir", state, "-t", "200ms"});
      send_all(daemon);
      CHECK(daemon.stop().code == 3);
    }
    Daemon daemon({"--sink", "file:" + file.string(), "--workers", "1", "--state-dir", state});
    CHECK(test::wait_status_number(daemon.admin(), "delivered", wanted().size(), std::chrono::seconds(10)));
    CHECK(daemon.stop().code == 0);
    CHECK(members_of_all(test::lines_of(file)) == wanted());
  }

  TEST_CASE("cloud events: in binary mode the body may come later, or in chunks") {
    const test::TempDir dir;
    const auto file = dir.path() / "events";
    Daemon daemon({"--sink", "file:" + file.string(), "--workers", "1"});
    Client client(daemon.address());
    const std::string start = "POST /v1/events HTTP/1.1\r\nHost: test\r\nContent-Type: text/plain\r\n";
    // Told to go on, the client knows that the head has been taken apart.
    REQUIRE(client.send(start + fields("later") + "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"));
    std::optional<Answer> answer = client.read_answer();
    REQUIRE(answer);
    CHECK(answer->status == 100);
    CHECK(client.ask("hello").status == 202);
    CHECK(client.ask(start + fields("chunked") + "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")
              .status == 202);
    // Long enough to be read in many pieces.
    const std::string long_body(150'000, 'x');
    CHECK(client.ask(post("text/plain", long_body, fields("long"))).status == 202);
    CHECK(daemon.stop().code == 0);
    const Members type = {{"datacontenttype", "text text/plain"}};
    const auto with_data = [&](const std::string& id, const std::string& data) {
      Members all = members(id, type);
      all["data"] = "text " + data;
      return all;
    };
    CHECK(members_of_all(test::lines_of(file)) == std::vector<Members>{with_data("later", "hello"),
                                                                       with_data("chunked", "hello"),
                                                                       with_data("long", long_body)});
  }

  TEST_CASE("cloud events: a bad head is refused before its body is sent") {
    Daemon daemon({"--sink", "null:"});
    Client client(daemon.address());
    const Answer answer = client.ask(
        "POST /v1/events HTTP/1.1\r\nHost: test\r\nce-id: 1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    CHECK(answer.status == 400);
    CHECK(client.wait_closed());
  }

  TEST_CASE("cloud events: what is none is refused for its reason, and nothing of its request is taken") {
    Daemon daemon({"--sink", "null:"});
    const auto lacking = [](const std::string& name) {
      std::string text = event("1");
      const std::size_t at = text.find("\"" + name + "\"");
      return text.replace(at + 1, name.size(), "x" + name);
    };
    for (const std::string name : {"specversion", "id", "source", "type"}) {
      const std::string words = "the attribute " + name + " is missing";
      check_refused(daemon, post(kStructured, lacking(name)), 400, words);
      check_refused(daemon, post(kBatch, "[" + event("1") + "," + lacking(name) + "," + event("3") + "]"), 400, words,
                    1);
      std::string head = fields("1");
      head.replace(head.find("ce-" + name), 3, "ce-x");
      check_refused(daemon, post("application/json", "{}", head), 400, words);
    }
    check_refused(daemon, post(kStructured, ""), 400, "empty");
    check_refused(daemon, post(kStructured, "{"), 400, "ends early");
    check_refused(daemon, post(kStructured, "[" + event("1") + "]"), 400, "an event is a JSON object");
    check_refused(daemon, post(kStructured, event("1", R"(,"id":"2")")), 400, "the member id is there twice");
    check_refused(daemon, post(kStructured, event("1", R"(,"a_b":"2")")), 400, "'a_b' is not the name of an attribute");
    check_refused(daemon, post(kStructured, event("1", R"(,"a\"b":"2")")), 400,
                  "'a??b' is not the name of an attribute");
    check_refused(daemon, post(kStructured, event("1", R"(,"x":{})")), 400, "the attribute x is an object or a list");
    check_refused(daemon, post(kStructured, event("1", R"(,"data":1,"data_base64":"AAAA")")), 400, "not both");
    check_refused(daemon, post(kStructured, event("1", R"(,"data_base64":"A")")), 400, "Base64");
    check_refused(daemon, post(kStructured, event("1") + event("2")), 400, "unexpected text after the value");
    check_refused(daemon, post(kBatch, ""), 400, "empty");
    check_refused(daemon, post(kBatch, event("1")), 400, "a batch is a JSON array");
    check_refused(daemon, post(kBatch, "[" + event("1") + ",]"), 400, "");
    check_refused(daemon, post(kBatch, "[1," + event("1") + "]"), 400, "an event is a JSON object", 0);
    check_refused(daemon, post(kBatch, "[" + event("1") + "," + event("2") + ",null]"), 400,
                  "an event is a JSON object", 2);
    check_refused(daemon, post("text/plain", "x", fields("1", "ce-specversion: 1.0\r\n")), 400,
                  "the member specversion is there twice");
    check_refused(daemon, post("text/plain", "x", fields("%C0%A0")), 400,
                  "the attribute id is not percent-encoded UTF-8");
    check_refused(daemon, post("text/plain", "x", fields("caf%E9")), 400,
                  "the attribute id is not percent-encoded UTF-8");
    check_refused(daemon, post("text/plain", "x", fields("")), 400, "the attribute id is empty");
    check_refused(daemon, post("text/plain", "x", fields("1", "ce-a-b: 1\r\n")), 400, "'a-b' is not the name");
    check_refused(daemon, post("text/plain", "x", fields("1", "ce-data: 1\r\n")), 400, "'data' is not the name");
    check_refused(daemon, post("text/plain", "x", fields("1", "ce-datacontenttype: a/b\r\n")), 400, "datacontenttype");
    check_refused(daemon, post("application/json", "{", fields("1")), 400, "the data: the text ends early");
    check_refused(daemon, post("application/json", "1", fields("1", "Content-Encoding: br\r\n")), 415, "");
    const test::Ended ended = daemon.stop();
    REQUIRE(ended.report);
    CHECK(ended.report->accepted == 0);
  }

  TEST_CASE("cloud events: an empty batch is accepted as nothing, in its turn") {
    const test::TempDir dir;
    const auto file = dir.path() / "events";
    Daemon daemon({"--sink", "file:" + file.string(), "--workers", "1"});
    Client client(daemon.address());
    REQUIRE(client.send(post(kBatch, "[" + event("1") + "]") + post(kBatch, " [ ] ") + post(kStructured, event("2")) +
                        post(kBatch, "[]") + post(kStructured, "{}")));
    const auto next = [&] { return client.read_answer().value_or(Answer()); };
    CHECK(next().body.starts_with(R"({"accepted":1,)"));
    const Answer none = next();
    CHECK(none.status == 202);
    CHECK(none.header("content-type") == "application/json");
    CHECK(none.body == R"({"accepted":0})");
    CHECK(next().body.starts_with(R"({"accepted":1,)"));
    CHECK(next().body == R"({"accepted":0})");
    CHECK(next().status == 400);
    const test::Ended ended = daemon.stop();
    REQUIRE(ended.report);
    CHECK(ended.report->accepted == 2);
    CHECK(ids_in(test::lines_of(file)) == std::vector<std::string>{"1", "2"});
  }

  TEST_CASE("cloud events: a producer's events keep their order, in whatever modes they are sent") {
    const test::TempDir dir;
    const auto file = dir.path() / "events";
    Daemon daemon({"--sink", "file:" + file.string(), "--workers", "1"});
    Client client(daemon.address());
    std::string requests;
    std::vector<std::string> ids;
    for (std::size_t round = 0; round < 100; ++round) {
      for (const char* kind : {"s", "a", "b", "n"}) ids.push_back(kind + std::to_string(round));
      requests += post(kStructured, event(ids[4 * round]));
      requests += post(kBatch, "[" + event(ids[4 * round + 1]) + "," + event(ids[4 * round + 2]) + "]");
      requests += post("text/plain", "x", fields(ids[4 * round + 3]));
    }
    REQUIRE(client.send(requests));
    for (int i = 0; i < 300; ++i) REQUIRE(client.read_answer().value_or(Answer()).status == 202);
    CHECK(daemon.stop().code == 0);
    CHECK(ids_in(test::lines_of(file)) == ids);
  }

  TEST_CASE("cloud events: limits count the event as it is kept; a batch is bounded as a request, each event as one") {
    Daemon daemon({"--sink", "null:", "--max-event-bytes", "2000", "--max-request-bytes", "100000"});
    const std::string bytes(1500, '\xff');
    CHECK(test::ask_once(daemon.address(), post("a/b", bytes.substr(0, 1200), fields("1"))).status == 202);
    check_refused(daemon, post("a/b", bytes, fields("1")), 413,
                  "in the JSON format this event is larger than 2000 bytes");
    check_refused(daemon,
                  post("text/plain", std::string(1900, 'x'), fields("1", "ce-x: " + std::string(500, 'x') + "\r\n")),
                  413, "in the JSON format");
    check_refused(daemon, post("text/plain", std::string(2001, 'x'), fields("1")), 413, "");
    check_refused(daemon, post(kStructured, event("1", ",\"data\":\"" + std::string(2000, 'x') + "\"")), 413, "");
    const std::string large = event("1", ",\"data\":\"" + std::string(1900, 'x') + "\"");
    const std::string larger = event("1", ",\"data\":\"" + std::string(2000, 'x') + "\"");
    std::string batch = "[" + large;
    for (int i = 0; i < 40; ++i) batch += "," + large;
    CHECK(test::ask_once(daemon.address(), post(kBatch, batch + "]")).status == 202);
    check_refused(daemon, post(kBatch, batch + "," + larger + "]"), 413, "an event is at most 2000 bytes", 41);
    for (int i = 0; i < 10; ++i) batch += "," + large;
    check_refused(daemon, post(kBatch, batch + "]"), 413, "");
    const test::Ended ended = daemon.stop();
    REQUIRE(ended.report);
    CHECK(ended.report->accepted == 42);
  }

  TEST_CASE("cloud events: what an event grows to is charged before there is room for it") {
    // A quarter of the 4 MiB is for what is received and made: a body of control characters takes six times its size.
    Daemon daemon(
        {"--sink", "null:", "--queue-bytes", "4MiB", "--max-event-bytes", "1MiB", "--max-request-bytes", "1MiB"});
    check_refused(daemon, post("text/plain", std::string(160'000, '\x01'), fields("1")), 429, "no room");
    CHECK(test::ask_once(daemon.address(), post("text/plain", std::string(100'000, '\x01'), fields("2"))).status ==
          202);
    // 4000 events of one request are listed, and 200,000 could be: each counts.
    std::string batch = "[" + event("1");
    for (int i = 0; i < 4000; ++i) batch += "," + event("1");
    CHECK(test::ask_once(daemon.address(), post(kBatch, batch + "]")).status == 202);
    std::string empty = "[1";
    for (int i = 0; i < 200'000; ++i) empty += ",1";
    check_refused(daemon, post(kBatch, empty + "]"), 413, "more events than one request may have");
    const test::Ended ended = daemon.stop();
    REQUIRE(ended.report);
    CHECK(ended.report->accepted == 4002);
  }
}
