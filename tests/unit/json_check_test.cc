// What is JSON and what is not: RFC 8259, valid UTF-8, the whole text.
#include "http/json_check.h"

#include <doctest/doctest.h>

#include <string>

#include "support/json_texts.h"

namespace {

using sluice::to_string;
using sluiced::http::check_json;

std::string complaint(std::string_view text) { return to_string(check_json(text)); }

std::string nested(std::size_t depth, char open, char close) {
  return std::string(depth, open) + std::string(depth, close);
}

}  // namespace

TEST_CASE("json: what is JSON passes") {
  for (const test::JsonText& good : test::json_texts()) {
    INFO(good.what);
    CHECK(complaint(good.text) == "valid");
    CHECK(complaint(" " + good.text + "\n") == "valid");
  }
}

TEST_CASE("json: what is no JSON is refused") {
  for (const test::JsonText& bad : test::no_json_texts()) {
    INFO(bad.what);
    CHECK(complaint(bad.text) != "valid");
  }
}

TEST_CASE("json: every text that is cut short is refused, and so is one with a byte too many") {
  for (const test::JsonText& good : test::json_texts()) {
    if (good.text.size() > 200) continue;
    INFO(good.what);
    CHECK(complaint(good.text + "]") != "valid");
    CHECK(complaint(good.text + "\"") != "valid");
    if (std::string_view("[{\"").find(good.text.front()) == std::string_view::npos)
      continue;  // a number's front is one
    for (std::size_t size = 0; size < good.text.size(); ++size) CHECK(complaint(good.text.substr(0, size)) != "valid");
  }
}

TEST_CASE("json: what ends a string, or may not stand in it, is found wherever it stands") {
  for (std::size_t size = 1; size < 140; ++size) {  // twice what is looked at in one step
    for (std::size_t at = 0; at < size; ++at) {
      std::string text = "\"" + std::string(size, 'x') + "\"";
      REQUIRE(complaint(text) == "valid");
      text[1 + at] = '\x1f';
      REQUIRE(complaint(text) == "a control character in a string at byte " + std::to_string(at + 2));
      text[1 + at] = '\x7f';  // is allowed
      REQUIRE(complaint(text) == "valid");
      text[1 + at] = '"';
      REQUIRE(complaint(text) == "unexpected text after the value at byte " + std::to_string(at + 3));
      text[1 + at] = '\\';
      REQUIRE(complaint(text) != "valid");  // an escape that there is not, or no end
      text[1 + at] = '\xe9';                // no control, though negative as a char may be
      REQUIRE(!sluiced::http::check_json_grammar(text));
    }
  }
}

TEST_CASE("json: what is wrong with a text that is not UTF-8 is that") {
  for (const char* text : {"\"\xff\"", "\"\xed\xa0\x80\"", "\"\xc0\xaf\"", "\x80", "1 2 \xff"}) {
    CAPTURE(text);
    CHECK(complaint(text) == "invalid UTF-8");
  }
}

TEST_CASE("json: nesting passes to 1024, or to what it is asked for, and is refused beyond, without a stack to blow") {
  CHECK(complaint(nested(1024, '[', ']')) == "valid");
  CHECK(complaint(nested(1025, '[', ']')) == "nesting deeper than 1024 at byte 1025");
  CHECK(complaint(nested(1'000'000, '[', ']')) == "nesting deeper than 1024 at byte 1025");
  CHECK_FALSE(check_json(nested(7, '[', ']'), 7));
  CHECK(check_json(nested(8, '[', ']'), 7).byte == 8);
  CHECK_FALSE(check_json("1", 0));
  CHECK(check_json("{}", 0).byte == 1);
}

TEST_CASE("json: a bracket closes what it opened, at every depth of mixed nesting") {
  std::string open;
  std::string close;
  for (int i = 0; i < 500; ++i) {
    const bool object = i % 3 == 0;
    open += object ? R"({"k":)" : "[";
    close.insert(close.begin(), object ? '}' : ']');
  }
  open += '0';
  CHECK(complaint(open + close) == "valid");
  for (std::size_t i = 0; i < close.size(); i += 7) {
    std::string wrong = close;
    wrong[i] = wrong[i] == '}' ? ']' : '}';
    CHECK(complaint(open + wrong) != "valid");
  }
}

TEST_CASE("json: a complaint says where") {
  CHECK(complaint(R"({"a":1,"b":01})") == "invalid number at byte 13");
  CHECK(complaint("[1,2") == "the text ends early");
  CHECK(complaint("{} {}") == "unexpected text after the value at byte 4");
}
