// What is JSON and what is not: RFC 8259, valid UTF-8, the whole text.
#include "http/json_check.h"

#include <doctest/doctest.h>

#include <string>

namespace {

using sluiced::http::check_json;
using sluiced::http::to_string;

std::string complaint(std::string_view text) { return to_string(check_json(text)); }

std::string nested(std::size_t depth, char open, char close) {
  return std::string(depth, open) + std::string(depth, close);
}

}  // namespace

TEST_CASE("json: what the grammar allows passes") {
  for (const char* text :
       {"null", "true", "false", "0", "-0", "12", "-1.5e+10", "1E9", "0.000", "\"\"", "\"text\"", "[]", "{}",
        " \t\r\n[ ] \n", "[1,2,[3,{}]]", R"({"a":1,"b":[true,null],"":{"c":"d"}})", R"("\"\\\/\b\f\n\r\t\u00e9")",
        "{ \"a\" : [ 1 , 2 ] }", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""}) {
    CAPTURE(text);
    CHECK(complaint(text) == "valid");
  }
}

TEST_CASE("json: numbers of any size and lone surrogate escapes pass") {
  CHECK(complaint("123456789012345678901234567890") == "valid");
  CHECK(complaint("1e999") == "valid");
  CHECK(complaint("-0.1E-99999999999999999999") == "valid");
  CHECK(complaint(R"("\ud800")") == "valid");
  CHECK(complaint(R"("\udc00\ud800x")") == "valid");
}

TEST_CASE("json: what the grammar does not allow is refused") {
  for (const char* text : {"",
                           " ",
                           "nul",
                           "nulll",
                           "True",
                           "01",
                           "-",
                           "+1",
                           ".5",
                           "1.",
                           "1e",
                           "1e+",
                           "0x1",
                           "--1",
                           "1 2",
                           "[1]]",
                           "[",
                           "]",
                           "{",
                           "}",
                           "[1,]",
                           "[,1]",
                           "[1 2]",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{\"a\":1,}",
                           "{,}",
                           "{a:1}",
                           "{1:2}",
                           "{\"a\" 1}",
                           "{\"a\":1 \"b\":2}",
                           "[}",
                           "{]",
                           "\"",
                           "\"a",
                           "\"\\\"",
                           "\"\\x\"",
                           "\"\\u12\"",
                           "\"\\u12g4\"",
                           "'a'",
                           "NaN",
                           "Infinity",
                           "\"a\nb\"",
                           "\"a\tb\"",
                           "\"\x01\"",
                           "// c\n1",
                           "1,",
                           "\xef\xbb\xbf{}",
                           "\xc2\xa0null",
                           "[1\f]"}) {
    CAPTURE(text);
    CHECK(complaint(text) != "valid");
  }
  CHECK(complaint(std::string_view("1\0", 2)) != "valid");
  CHECK(complaint(std::string_view("\"\0\"", 3)) != "valid");
}

TEST_CASE("json: a control character is found wherever it stands in a string") {
  for (std::size_t size = 1; size < 40; ++size) {
    for (std::size_t at = 0; at < size; ++at) {
      std::string text = "\"" + std::string(size, 'x') + "\"";
      REQUIRE(complaint(text) == "valid");
      text[1 + at] = '\x1f';
      REQUIRE(complaint(text) == "a control character in a string at byte " + std::to_string(at + 2));
      text[1 + at] = '\x7f';  // is allowed
      REQUIRE(complaint(text) == "valid");
      text[1 + at] = '"';
      REQUIRE(complaint(text) != "valid");
    }
  }
}

TEST_CASE("json: broken UTF-8 is refused, in and outside strings") {
  for (const char* text :
       {"\"\xff\"", "\"\xc3\"", "\"\xe2\x82\"", "\"\xed\xa0\x80\"", "\"\xc0\xaf\"", "\"\xf4\x90\x80\x80\"", "\x80"}) {
    CAPTURE(text);
    CHECK(complaint(text) == "invalid UTF-8");
  }
}

TEST_CASE("json: nesting passes to 1024 and is refused beyond, without a stack to blow") {
  CHECK(complaint(nested(1024, '[', ']')) == "valid");
  CHECK(complaint(nested(1025, '[', ']')) == "nesting deeper than 1024 at byte 1025");
  CHECK(complaint(nested(1'000'000, '[', ']')) == "nesting deeper than 1024 at byte 1025");
  std::string objects;
  for (int i = 0; i < 1024; ++i) objects += R"({"a":)";
  CHECK(complaint(objects + "1" + std::string(1024, '}')) == "valid");
  CHECK(complaint(objects + "1" + std::string(1023, '}') + "]") != "valid");
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
