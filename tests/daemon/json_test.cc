// JSON to the letter, through the real intake: what is taken arrives as it was sent, what is refused is named by its
// line.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "support/client.h"
#include "support/daemon.h"
#include "support/delivered.h"
#include "support/json_texts.h"

namespace {

using test::Answer;
using test::Client;
using test::Daemon;
using test::JsonText;
using test::post;

constexpr const char* kJson = "application/json";
constexpr const char* kLines = "application/x-ndjson";

// An array is one event, too.
std::string one_event(std::string request) {
  const std::string path = "/v1/events";
  return request.insert(request.find(path) + path.size(), "?array=event");
}

bool is_one_line(const std::string& text) { return !text.empty() && text.find('\n') == std::string::npos; }

void check_names_line(const Answer& answer, std::size_t line) {
  CHECK(answer.status == 400);
  CHECK_MESSAGE(answer.body.ends_with(fmt::format("\"line\":{}}}", line)), answer.body);
}

}  // namespace

TEST_SUITE("daemon.json") {
  TEST_CASE("json: every text that is JSON is taken, alone and as a line, and arrives to the letter") {
    const test::TempDir dir;
    const auto file = dir.path() / "events";
    Daemon daemon({"--sink", "file:" + file.string() + "?format=raw", "--workers", "1", "--max-event-bytes", "1MiB"});
    Client client(daemon.address());
    std::vector<std::string> sent;
    for (const JsonText& good : test::json_texts()) {
      INFO(good.what);
      CHECK(client.ask(one_event(post(kJson, good.text))).status == 202);
      if (!is_one_line(good.text)) {
        for (std::size_t at = 0, end = 0; at <= good.text.size(); at = end + 1) {
          end = std::min(good.text.find('\n', at), good.text.size());
          sent.push_back(good.text.substr(at, end - at));
        }
        continue;
      }
      sent.push_back(good.text);
      const Answer answer = client.ask(post(kLines, "1\n" + good.text + "\r\n\n" + good.text));
      CHECK(answer.status == 202);
      CHECK(answer.body.starts_with(R"({"accepted":3,)"));
      for (const std::string& line : {std::string("1"), good.text, good.text}) sent.push_back(line);
    }
    CHECK(daemon.stop().code == 0);
    CHECK(test::lines_of(file) == sent);
  }

  TEST_CASE("json: every text that is no JSON is refused, alone and as a line that is named, and nothing is taken") {
    Daemon daemon({"--sink", "null:", "--max-event-bytes", "1MiB"});
    Client client(daemon.address());
    for (const JsonText& bad : test::no_json_texts()) {
      INFO(bad.what);
      const bool marked = bad.text == "\xef\xbb\xbf{}";  // no JSON; but a mark at the start of a body is dropped
      if (!marked) {
        CHECK(client.ask(post(kJson, bad.text)).status == 400);
        CHECK(client.ask(one_event(post(kJson, bad.text))).status == 400);
        CHECK(client.ask(post(kLines, bad.text)).status == 400);
      }
      if (!is_one_line(bad.text) || bad.text == " ") continue;  // blank lines are skipped
      if (!bad.text.starts_with("\xef\xbb\xbf")) check_names_line(client.ask(post(kLines, bad.text)), 1);
      check_names_line(client.ask(post(kLines, "1\n\n\r\n" + bad.text + "\n2\n")), 4);
      check_names_line(client.ask(post(kLines, "{}\r\n[]\r\n\"a\"\r\n" + bad.text + "\r\n")), 4);
    }
    const test::Ended ended = daemon.stop();
    REQUIRE(ended.report);
    CHECK(ended.report->accepted == 0);
  }

  TEST_CASE("json: a line holds one value, whole") {
    Daemon daemon({"--sink", "null:"});
    Client client(daemon.address());
    check_names_line(client.ask(post(kLines, "1\n2 3\n4\n")), 2);
    check_names_line(client.ask(post(kLines, "{}{}\n")), 1);
    check_names_line(client.ask(post(kLines, "1\n{\"a\":\n1}\n")), 2);
    check_names_line(client.ask(post(kLines, "[1,\n2]")), 1);
    check_names_line(client.ask(post(kLines, "\"a\n\"")), 1);
    check_names_line(client.ask(post(kLines, "1\r2\n")), 1);  // a carriage return alone ends no line
    check_names_line(client.ask(post(kLines,
                                     "1\n\xef\xbb\xbf"
                                     "2\n")),
                     2);                                               // no line has a byte order mark, but the first
    check_names_line(client.ask(post(kLines, "1\n\xc3\n\xa4\n")), 2);  // a character over two lines
    const Answer answer = client.ask(post(kLines, "\xef\xbb\xbf\n\r\n1\n \t\n 2 \r\n\r\n3"));
    CHECK(answer.status == 202);
    CHECK(answer.body.starts_with(R"({"accepted":3,)"));
    const test::Ended ended = daemon.stop();
    REQUIRE(ended.report);
    CHECK(ended.report->accepted == 3);
  }
}
