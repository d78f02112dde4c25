// What shippers send, by the server that takes it: JSON alone, in arrays, in lines and in sequences, under the names
// that are used for them; and what a client asks before it sends. What an answer counts is what was taken, and an event
// is its text to the letter.
#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

#include "http/json_batch.h"
#include "http/request.h"
#include "http_house.h"
#include "support/json_texts.h"

namespace {

using namespace http_support;

constexpr const char* kJson = "application/json";
constexpr const char* kLines = "application/x-ndjson";
constexpr const char* kSequence = "application/json-seq";
const std::string kMark = "\xef\xbb\xbf";

std::string to(const std::string& target, const std::string& request) {
  std::string changed = request;
  changed.replace(5, std::string_view("/v1/events").size(), target);
  return changed;
}

std::string accepted(std::size_t events) {
  return "{\"accepted\":" + std::to_string(events) + (events == 0 ? "}" : ",");
}

// What is taken of this body, in its order; the answer says as many.
Strings taken(const std::string& type, const std::string& body, const std::string& target = "/v1/events") {
  House house;
  Client client(house.address());
  const Answer answer = client.ask(to(target, post(body, type)));
  CAPTURE(answer.body);
  Strings events = house.delivered();
  CHECK(answer.status == 202);
  CHECK(answer.body.starts_with(accepted(events.size())));
  for (const std::string& kept : house.types) CHECK(kept == kJson);
  return events;
}

// How a server refuses this body: the status, and what is said behind the title. Nothing is taken.
std::string refusal(const std::string& type, const std::string& body, const std::string& target = "/v1/events") {
  House house;
  Client client(house.address());
  const Answer answer = client.ask(to(target, post(body, type)));
  CHECK(house.delivered().empty());
  const std::size_t at = answer.body.find("\"detail\":\"");
  return std::to_string(answer.status) + " " + (at == std::string::npos ? answer.body : answer.body.substr(at + 10));
}

// The elements of an array, or what is wrong with it.
std::string elements(const std::string& text) {
  sluiced::http::JsonArray array(text);
  std::string all;
  while (const auto element = array.next()) all.append(*element).append("|");
  return array.fault() ? to_string(array.fault()) : all;
}

}  // namespace

// ---- arrays

TEST_CASE("formats: an array of JSON is a batch, an event an element, each as it came") {
  // As fluent-bit (`format json`), Vector (`codec: json`) and rsyslog (`batch.format="jsonarray"`) document it.
  CHECK(taken(kJson, R"([{"date":1700000000.5,"log":"a"},{"date":1700000001.5,"log":"b]"}])") ==
        Strings{R"({"date":1700000000.5,"log":"a"})", R"({"date":1700000001.5,"log":"b]"})"});
  CHECK(taken(kJson, " [ 1 ,\r\n\t\"a , ]\\\"\" , [ 2, 3 ] , {\"x\" : [ ]} , null ] \n") ==
        Strings{"1", "\"a , ]\\\"\"", "[ 2, 3 ]", "{\"x\" : [ ]}", "null"});
  CHECK(taken("Application/JSON; charset=utf-8", "[1e999,12345678901234567890123]") ==
        Strings{"1e999", "12345678901234567890123"});
  CHECK(taken("text/json", "[1,2]") == Strings{"1", "2"});
  CHECK(taken(kJson, "[[1,2],[3]]") == Strings{"[1,2]", "[3]"});
  CHECK(taken(kJson, "[7]") == Strings{"7"});
  CHECK(taken(kJson, kMark + "[1,2]") == Strings{"1", "2"});
}

TEST_CASE("formats: an empty array is accepted with no events in it") {
  CHECK(taken(kJson, "[]").empty());
  CHECK(taken(kJson, " [ \r\n ] ").empty());
}

TEST_CASE("formats: an array stays one event where the client asks for it") {
  const std::string text = " [1, [2]]\n";
  CHECK(taken(kJson, text, "/v1/events?array=event") == Strings{text});
  CHECK(taken(kJson, text, "/v1/events?x=array=batch&array=event&y") == Strings{text});
  CHECK(taken(kJson, "[]", "/v1/events?array=event") == Strings{"[]"});
  CHECK(taken(kJson, text, "/v1/events?array=batch") == Strings{"1", "[2]"});
  CHECK(taken(kJson, text, "/v1/events?arrays=event") == Strings{"1", "[2]"});  // somebody else's parameter
  CHECK(refusal(kJson, text, "/v1/events?array=events").starts_with("400 array is either event or batch"));
  CHECK(refusal(kJson, text, "/v1/events?array=").starts_with("400 array is either event or batch"));
}

TEST_CASE("formats: an array with something wrong in it is refused whole, and the element is named") {
  CHECK(refusal(kJson, "[1,2,{]") == "400 expected a name at byte 7\",\"index\":2}");
  CHECK(refusal(kJson, "[1,\"\xff\",3]") == "400 invalid UTF-8\",\"index\":1}");
  CHECK(refusal(kJson, "[1,2,]") == "400 invalid value at byte 6\",\"index\":2}");
  CHECK(refusal(kJson, "[1,2") == "400 the text ends early\"}");
  CHECK(refusal(kJson, "[1 2]") == "400 expected a comma or ] at byte 4\"}");
  CHECK(refusal(kJson, "[1,2] 3") == "400 unexpected text after the value at byte 7\"}");
  const std::string large = "\"" + std::string(256U << 10U, 'x') + "\"";
  CHECK(refusal(kJson, "[1," + large + "]") == "413 an event is at most 262144 bytes\",\"index\":1}");
  CHECK(taken(kJson, "[1,\"" + large.substr(3) + "]").size() == 2);
}

TEST_CASE("formats: an array is taken apart as JSON is checked, whatever is in it") {
  for (const test::JsonText& good : test::json_texts()) {
    INFO(good.what);
    if (sluiced::http::check_json_grammar(good.text, 1023)) continue;  // too deep for one more
    CHECK(elements("[" + good.text + ",\n" + good.text + " , 0]") ==
          elements("[" + good.text + "]") + elements("[" + good.text + ",0]"));
  }
  for (const test::JsonText& bad : test::no_json_texts()) {
    INFO(bad.what);
    for (const std::string& text : {"[" + bad.text + "]", "[0," + bad.text, "[" + bad.text + ",0]"}) {
      const auto fault = sluiced::http::check_json_grammar(text);
      if (fault) CHECK(elements(text) == to_string(fault));
    }
  }
  CHECK(elements(std::string(1024, '[') + std::string(1024, ']')).size() == 2 * 1023 + 1);
  CHECK(elements(std::string(1025, '[') + std::string(1025, ']')).starts_with("nesting deeper than"));
}

TEST_CASE("formats: a long list of events is charged before it is made, and taken whole") {
  std::string body = "[";
  for (int i = 0; i < 20'000; ++i) body += std::to_string(i) + ",";
  body.back() = ']';
  House house;
  Client client(house.address());
  CHECK(client.ask(post(body, kJson)).body.starts_with(accepted(20'000)));
  const Strings events = house.delivered();
  REQUIRE(events.size() == 20'000);
  CHECK(events.front() == "0");
  CHECK(events[12'345] == "12345");
  // Two bytes an event, and thirty-two in the list: more than there is room for.
  House small([](Config& config, sluice::Options&) { config.receive_bytes = 1U << 20U; });
  Client other(small.address());
  std::string many = "[";
  for (int i = 0; i < 100'000; ++i) many += "1,";
  many.back() = ']';
  CHECK(other.ask(post(many, kJson)).status == 413);
  CHECK(other.ask(post("[1]", kJson)).status == 202);
  CHECK(small.delivered().size() == 1);
}

// ---- lines

TEST_CASE("formats: lines are lines by whichever of their names") {
  for (const char* type : {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonl",
                           "application/jsonlines", "application/x-jsonlines", "application/json-lines",
                           "application/x-ldjson", "text/x-ndjson", "text/jsonl", "Application/NDJSON",
                           "application/jsonl; charset=utf-8", "APPLICATION/X-NDJSON ;x"}) {
    CAPTURE(type);
    CHECK(taken(type, "{\"a\":1}\n[2,3]\n") == Strings{"{\"a\":1}", "[2,3]"});
  }
  // These say something else: one opaque event, under the type that came.
  for (const std::string type :
       {"application/ndjsonx", "application/x-json", "image/ndjson", "ndjson", "application/x-"}) {
    CAPTURE(type);
    House house;
    Client client(house.address());
    CHECK(client.ask(post("1\n2\n", type)).body.starts_with(accepted(1)));
    CHECK(house.delivered() == Strings{"1\n2\n"});
    CHECK(house.types == Strings{type});
  }
}

TEST_CASE("formats: blank lines are no events, and what is wrong is named by its line all the same") {
  CHECK(taken(kLines, "\n \n1\n\t\n\r\n \t\r\n2\r\r\n\r\r\n3\n   ") == Strings{"1", "2\r", "3"});
  CHECK(taken(kLines, " 1 \n") == Strings{" 1 "});
  CHECK(refusal(kLines, " \n\t\r\n1\n \nx\n") == "400 invalid value at byte 1\",\"line\":5}");
  CHECK(refusal(kLines, " \n\t\r\n").starts_with("400 no event: every line is blank"));
  CHECK(refusal(kLines, "1\n\v\n2\n") == "400 invalid value at byte 1\",\"line\":2}");  // RFC 8259 has no such blank
}

TEST_CASE("formats: a byte order mark at the start is dropped, and nowhere else") {
  CHECK(taken(kLines, kMark + "1\n2\n") == Strings{"1", "2"});
  CHECK(taken(kJson, kMark + "{\"a\":1}") == Strings{"{\"a\":1}"});
  CHECK(taken(kJson, kMark + "1\n2\n") == Strings{"1", "2"});
  CHECK(refusal(kLines, "1\n" + kMark + "2\n").ends_with("\"line\":2}"));
  CHECK(refusal(kLines, kMark).starts_with("400 "));
  CHECK(refusal(kJson, kMark + kMark + "1").starts_with("400 "));
  House house;  // of bytes that nobody has called JSON it is a part
  Client client(house.address());
  CHECK(client.ask(post(kMark + "x")).status == 202);
  CHECK(house.delivered() == Strings{kMark + "x"});
}

TEST_CASE("formats: lines that are called JSON are lines") {
  // As rsyslog's omhttp documents `batch.format="newline"`: application/json; charset=utf-8.
  CHECK(taken("application/json; charset=utf-8", "{\"message\":\"a\"}\n{\"message\":\"b\"}") ==
        Strings{"{\"message\":\"a\"}", "{\"message\":\"b\"}"});
  CHECK(taken(kJson, "\n[1]\n\n[2]\n") == Strings{"[1]", "[2]"});
  CHECK(taken(kJson, "1\n2\n", "/v1/events?array=event") == Strings{"1", "2"});
  CHECK(taken(kJson, "{\n\"a\":\n1}\n") == Strings{"{\n\"a\":\n1}\n"});  // one value, over lines
  CHECK(taken(kJson, "[\n1\n,\n2\n]\n") == Strings{"1", "2"});
  CHECK(refusal(kJson, "{}\n{}\n{\n") == "400 the text ends early\",\"line\":3}");
  CHECK(refusal(kJson, "[1]\n[2]\nx\n") == "400 invalid value at byte 1\",\"line\":3}");
  CHECK(refusal(kJson, "{} {}") == "400 unexpected text after the value at byte 4\"}");
  CHECK(refusal(kJson, "{} x\n{}") == "400 unexpected text after the value at byte 4\"}");
  CHECK(refusal(kJson, "{\n1\n") == "400 expected a name at byte 3\"}");
}

// ---- sequences

TEST_CASE("formats: a sequence of JSON texts is one event a record") {
  CHECK(taken(kSequence, "\x1e{\"a\":\n1}\n\x1e[1,2]\n\x1e\"x\"\x1e 7 \n") ==
        Strings{"{\"a\":\n1}", "[1,2]", "\"x\"", "7"});
  CHECK(taken(kSequence,
              "\x1e\x1e\n\x1e"
              "1\n\x1e") == Strings{"1"});
  CHECK(taken("Application/JSON-Seq; x", kMark + "\x1e"
                                                 "1\n") == Strings{"1"});
  CHECK(refusal(kSequence,
                "\x1e"
                "1\n\x1e{\n\x1e"
                "2\n") == "400 the text ends early\",\"index\":1}");
  CHECK(refusal(kSequence,
                "\x1e"
                "1\n\x1e\"\xff\"\n") == "400 invalid UTF-8\",\"index\":1}");
  CHECK(refusal(kSequence,
                "1\n\x1e"
                "2\n") == "400 expected a record separator at byte 1\"}");
  CHECK(refusal(kSequence, "\x1e\n\x1e").starts_with("400 no event"));
  for (const std::string cut : {"1", "true", "null"}) {  // RFC 7464, 2.4: might be 12, or cut from something else
    CAPTURE(cut);
    CHECK(refusal(kSequence, "\x1e\"x\"\n\x1e" + cut).starts_with("400 a value that may have been cut at byte "));
    CHECK(taken(kSequence, "\x1e" + cut + "\n") == Strings{cut});
  }
}

// ---- paths, OPTIONS, Keep-Alive

TEST_CASE("formats: slashes too many do not lead elsewhere") {
  House house;
  Client client(house.address());
  for (const char* target : {"/v1/events/", "//v1/events", "/v1//events", "///v1///events//", "/v1/events/?array=event",
                             "http://a//v1/events/"}) {
    CAPTURE(target);
    CHECK(client.ask(to(target, post("1", kJson))).status == 202);
  }
  CHECK(client.ask(get("//healthz/")).status == 200);
  for (const char* target : {"/v1/event/", "/v1/events/x", "/", "//", "/v1/eventss"}) {
    CAPTURE(target);
    CHECK(client.ask(to(target, post("1", kJson))).status == 404);
  }
  CHECK(house.delivered().size() == 6);
}

TEST_CASE("formats: OPTIONS says what a path allows, and takes nothing") {
  House house([](Config& config, sluice::Options&) {
    config.actions["/do"] = [](std::string_view) { return sluiced::http::Page{200, "text/plain", "done\n"}; };
  });
  Client client(house.address());
  const auto options = [&](const std::string& target) {
    return client.ask("OPTIONS " + target + " HTTP/1.1\r\nHost: a\r\n\r\n");
  };
  for (const auto& [target, allowed] :
       std::vector<std::pair<std::string, std::string>>{{"/v1/events", "POST, OPTIONS"},
                                                        {"/v1/events/?x", "POST, OPTIONS"},
                                                        {"/healthz", "GET, HEAD, OPTIONS"},
                                                        {"/do", "POST, OPTIONS"},
                                                        {"*", "GET, HEAD, POST, OPTIONS"}}) {
    CAPTURE(target);
    const Answer answer = options(target);
    CHECK(answer.status == 204);
    CHECK(answer.has("Allow: " + allowed));
    CHECK(answer.head.find("Content-Length") == std::string::npos);  // RFC 9110, 8.6
    CHECK(answer.body.empty());
  }
  CHECK(options("/nothing").status == 404);
  // A body is read over, and what is behind it is the next request.
  CHECK(client.ask("OPTIONS /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1").status == 204);
  CHECK(client.ask("GET * HTTP/1.1\r\nHost: a\r\n\r\n").status == 404);
  CHECK(client.ask(get("/healthz")).status == 200);
  CHECK(house.delivered().empty());
}

TEST_CASE("formats: an answer on a connection that stays says how long it may be idle") {
  House house([](Config& config, sluice::Options&) { config.idle_timeout = 7'900ms; });
  Client client(house.address());
  for (const Answer& answer : {client.ask(post("1")), client.ask(get("/healthz")), client.ask(get("/nothing")),
                               client.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")}) {
    CHECK(answer.has("Connection: keep-alive"));
    CHECK(answer.has("Keep-Alive: timeout=7"));
    CHECK_FALSE(answer.has("Connection: close"));
  }
  const Answer last = client.ask("GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  CHECK(last.has("Connection: close"));
  CHECK(last.head.find("eep-") == std::string::npos);
  House brief([](Config& config, sluice::Options&) { config.idle_timeout = 900ms; });
  Client hurried(brief.address());
  CHECK(hurried.ask(get("/healthz")).head.find("Keep-Alive:") == std::string::npos);
}
