// lib/text: base64, JSON strings, UTF-8, RFC 3339 and media types, each against examples from its specification and
// against what it must refuse. (Durations and sizes: options_test.cc. The grammar of JSON: json_check_test.cc.)
#include <doctest/doctest.h>

#include <chrono>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "text/ascii.h"
#include "text/base64.h"
#include "text/json_check.h"
#include "text/json_string.h"
#include "text/media_type.h"
#include "text/rfc3339.h"
#include "text/utf8.h"

namespace {

std::string base64(std::string_view bytes) {
  std::string text;
  sluice::put_base64(std::as_bytes(std::span(bytes)), [&text](std::string_view piece) { text += piece; });
  return text;
}

bool reads(std::string_view rest, std::string_view meaning, std::string_view left = "") {
  std::string to;
  return sluice::read_json_string(rest, to) && to == meaning && rest == left;
}

bool reads_as_string(std::string_view rest) {
  std::string to;
  return sluice::read_json_string(rest, to);
}

}  // namespace

TEST_CASE("text: base64 is written as in RFC 4648, section 10, and read back") {
  using Example = std::pair<std::string_view, std::string_view>;
  for (const auto& [bytes, text] : {Example{"", ""}, Example{"f", "Zg=="}, Example{"fo", "Zm8="},
                                    Example{"foo", "Zm9v"}, Example{"foob", "Zm9vYg=="}, Example{"fooba", "Zm9vYmE="},
                                    Example{"foobar", "Zm9vYmFy"}, Example{"\xfb\xff\xfe", "+//+"}}) {
    CHECK(base64(bytes) == text);
    std::string back = "before ";
    CHECK(sluice::read_base64(text, back));
    CHECK(back == "before " + std::string(bytes));
  }
}

TEST_CASE("text: base64 longer than a piece is written without a seam") {
  for (std::size_t size = 760; size < 780; ++size) {
    std::string bytes;
    for (std::size_t i = 0; i < size; ++i) bytes += static_cast<char>(i * 7);
    std::string back;
    CHECK(base64(bytes).size() == sluice::base64_size(size));
    CHECK(sluice::read_base64(base64(bytes), back));
    CHECK(back == bytes);
  }
}

TEST_CASE("text: what is not base64 is refused") {
  for (const std::string_view text : {"Zg=", "Zg", "Z===", "====", "Zg==Zg==", "Zm9\n", "Zm9-", "Zm9_", "Z m9"}) {
    std::string to;
    CAPTURE(text);
    CHECK_FALSE(sluice::read_base64(text, to));
  }
}

TEST_CASE("text: a JSON string escapes what it must and is read back as it was") {
  CHECK(sluice::json_string("") == R"("")");
  CHECK(sluice::json_string("a\"b\\c/\n\r\t") == R"("a\"b\\c/\n\r\t")");
  CHECK(sluice::json_string("\x01\x1f\x7f\b\f") == "\"\\u0001\\u001f\x7f\\u0008\\u000c\"");
  CHECK(sluice::json_string("\u00e9\U0001F600") == "\"\u00e9\U0001F600\"");
  CHECK(sluice::json_string("a\xff\xc3") == "\"a\uFFFD\uFFFD\"");
  std::string all;
  for (char32_t c = 0; c < 0x3000; ++c) sluice::put_utf8(all, c);
  CHECK_FALSE(sluice::check_json_grammar(sluice::json_string(all)));
  CHECK(reads(sluice::json_string(all).substr(1), all));
}

TEST_CASE("text: escapes of JSON are undone, and what is no string is refused") {
  CHECK(reads(R"(\"\\\/\b\f\n\r\t","next")", "\"\\/\b\f\n\r\t", R"(,"next")"));
  CHECK(reads(R"(\u0041\u00e9\u20AC")", "A\u00e9\u20AC"));
  CHECK(reads(R"(\ud83d\ude00")", "\U0001F600"));
  for (const std::string_view text :
       {R"(no end)", R"(\x")", R"(\u12)", R"(\u12g4")", R"(\)", R"(\ud83d")", R"(\ud83d\u0041")"}) {
    CAPTURE(text);
    CHECK_FALSE(reads_as_string(text));
  }
}

TEST_CASE("text: a code point is read as it was written, and nothing else is UTF-8") {
  for (const char32_t value : {0x0U, 0x7FU, 0x80U, 0x7FFU, 0x800U, 0xD7FFU, 0xE000U, 0xFFFFU, 0x10000U, 0x10FFFFU}) {
    std::string text;
    sluice::put_utf8(text, value);
    CHECK(sluice::first_code_point(text).value == value);
    CHECK(sluice::first_code_point(text).size == text.size());
    CHECK(sluice::first_code_point(text + "\x80").size == text.size());
    for (std::size_t cut = 1; cut < text.size(); ++cut) CHECK(sluice::first_code_point(text.substr(0, cut)).size == 0);
    CHECK(sluice::is_utf8("twenty-one characters" + text));
  }
  for (const std::string_view bad : {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
                                     "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"}) {
    CHECK(sluice::first_code_point(bad).size == 0);
    CHECK_FALSE(sluice::is_utf8("eight by" + std::string(bad)));
  }
}

TEST_CASE("text: an instant is cut off at the precision asked for") {
  using namespace std::chrono_literals;
  using Precision = sluice::Rfc3339::Precision;
  const std::chrono::system_clock::time_point at =
      std::chrono::sys_days{std::chrono::year{2024} / 2 / 29} + 7h + 8min + 9s + 123'456'789ns;
  CHECK(sluice::Rfc3339(at).text() == "2024-02-29T07:08:09.123456Z");
  CHECK(sluice::Rfc3339(at, Precision::milliseconds).text() == "2024-02-29T07:08:09.123Z");
  CHECK(sluice::Rfc3339(at, Precision::seconds).text() == "2024-02-29T07:08:09Z");
  CHECK(sluice::Rfc3339(std::chrono::system_clock::time_point{} - 1us).text() == "1969-12-31T23:59:59.999999Z");
}

TEST_CASE("text: a media type has a name, a subtype, a suffix and parameters, whatever their case") {
  const sluice::MediaType type(" Application/Problem+JSON ; q=1;Charset=\"UTF-8\" ; x");
  CHECK(type.name() == "Application/Problem+JSON");
  CHECK(type.is("application/problem+json"));
  CHECK_FALSE(type.is("application/problem"));
  CHECK(type.subtype() == "Problem+JSON");
  CHECK(type.has_suffix("+json"));
  CHECK_FALSE(type.is_text());
  CHECK(type.parameter("charset") == "UTF-8");
  CHECK(type.parameter("q") == "1");
  CHECK(type.parameter("x").empty());
  CHECK(type.parameter("set").empty());
  CHECK(sluice::MediaType("TEXT/x").is_text());
  CHECK_FALSE(sluice::MediaType("+json").has_suffix("+json"));
  CHECK(sluice::MediaType("").name().empty());
  CHECK(sluice::MediaType("text").subtype().empty());
}

TEST_CASE("text: ASCII case and hexadecimal digits; other bytes keep their value") {
  CHECK(sluice::lower_case("AZaz09[@`{\xc9") == "azaz09[@`{\xc9");
  CHECK(sluice::equal_without_case("Content-TYPE", "content-type"));
  CHECK_FALSE(sluice::equal_without_case("\xc9", "\xe9"));
  CHECK(sluice::hex_value('9') == 9);
  CHECK(sluice::hex_value('a') == 10);
  CHECK(sluice::hex_value('F') == 15);
  for (const char c : {'g', 'G', '/', ':', '@', '`', '\xff'}) CHECK(sluice::hex_value(c) == -1);
}
