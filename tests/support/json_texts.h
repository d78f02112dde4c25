// Texts that are JSON (RFC 8259, in UTF-8, nested 1024 deep at most) and texts that are not, for whatever in this
// project has to tell them apart. Each stands here for one thing that could be got wrong.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace test {

struct JsonText {
  std::string what;
  std::string text;
};

inline std::string times(std::size_t count, std::string_view text) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i) all += text;
  return all;
}

inline std::vector<JsonText> json_texts() {
  using namespace std::string_literals;
  std::vector<JsonText> texts = {
      // Any value is a text, not only objects and lists.
      {"null", "null"},
      {"true", "true"},
      {"false", "false"},
      {"an empty string", "\"\""},
      {"an empty list", "[]"},
      {"an empty object", "{}"},
      {"a list of all kinds", R"([null,true,false,0,"",[],{}])"},
      {"an object of all kinds", R"({"a":null,"b":true,"c":-1,"d":"","e":[],"f":{}})"},
      // What may stand around a value: these four characters, anywhere between tokens.
      {"space around a value", " \t\r\n1 \t\r\n"},
      {"space between all tokens", " [ 1 , { \"a\" : [ ] , \"b\" : null } , \"\" ] "},
      {"line breaks inside a value", "{\n\"a\"\r\n:\n1\n}"},
      // Numbers of any size and precision.
      {"zero", "0"},
      {"minus zero", "-0"},
      {"zero to a power", "0e0"},
      {"a fraction of zeros", "0.000"},
      {"a fraction", "-12.50"},
      {"powers in all spellings", "[1E9,1e+9,1e-9,1.5E+10,1e05]"},
      {"64 bits and one more", "[9223372036854775807,18446744073709551615,18446744073709551616,-9223372036854775809]"},
      {"an integer of 30 digits", "123456789012345678901234567890"},
      {"an integer of 5000 digits", times(500, "1234567890")},
      {"a fraction of 5000 digits", "0." + times(500, "0123456789")},
      {"more than a double holds", "[1e999,-1e999,1e-999]"},
      {"a power beyond 64 bits", "-0.1E-99999999999999999999"},
      // Strings.
      {"every short escape", R"("\"\\\/\b\f\n\r\t")"},
      {"escapes by number, in either case", R"("\u00e9\u00C9\uABCD\uabcd\u0000\u001f")"},
      {"a surrogate pair", R"("\ud83d\ude00")"},
      {"a lone high surrogate", R"("\ud800")"},
      {"a lone low surrogate", R"("\udc00")"},
      {"surrogates the wrong way round", R"("\udc00\ud800x")"},
      {"a high surrogate before another escape", R"("\ud800\n")"},
      {"UTF-8 of two, three and four bytes", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
      {"the first and last of each length",
       "\"\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\""},
      {"the neighbours of the surrogates", "\"\xed\x9f\xbf\xee\x80\x80\""},
      {"noncharacters", "\"\xef\xbf\xbe\xef\xb7\x90\""},
      {"a byte order mark inside a string", "\"\xef\xbb\xbf\""},
      {"DEL, which is no control character of JSON's", "\"\x7f\""},
      {"line separators of Unicode", "\"\xe2\x80\xa8\xe2\x80\xa9\""},
      {"what would be markup elsewhere", R"("</script><!-- /* // # ' ")"},
      {"brackets in strings", R"(["[","{","}","]","\"]"])"},
      {"escaped backslashes before the end", R"(["\\","\\\\","\\\""])"},
      // Names are strings like others, in any number and as often as one likes.
      {"a doubled name", R"({"a":1,"a":2,"a":1})"},
      {"an empty name", R"({"":1})"},
      {"a name of escapes", R"({"\u0061\n":1})"},
      // Nesting.
      {"lists nested 1024 deep", times(1024, "[") + times(1024, "]")},
      {"objects nested 1024 deep", times(1024, R"({"a":)") + "1" + times(1024, "}")},
      {"both in turn, 1024 deep", times(512, R"([{"a":)") + "1" + times(512, "}]")},
      {"1024 deep, twice, side by side",
       "[" + times(1023, "[") + times(1023, "]") + "," + times(1023, "[") + times(1023, "]") + "]"},
      {"many values, not nested", "[" + times(5000, "[],") + "0]"},
  };
  return texts;
}

inline std::vector<JsonText> no_json_texts() {
  using namespace std::string_literals;
  std::vector<JsonText> texts = {
      {"nothing", ""},
      {"a space", " "},
      {"space and line breaks", " \t\r\n"},
      // Around a value.
      {"a byte order mark", "\xef\xbb\xbf{}"},
      {"a byte order mark behind", "{}\xef\xbb\xbf"},
      {"a byte order mark alone", "\xef\xbb\xbf"},
      {"UTF-16", "\xff\xfe{\0}\0"s},
      {"a no-break space", "\xc2\xa0null"},
      {"a line separator of Unicode", "\xe2\x80\xa8null"},
      {"a form feed", "[1\f]"},
      {"a vertical tab", "\v1"},
      {"a NUL behind", "1\0"s},
      {"a NUL in front", "\0001"s},
      {"a NUL alone", "\0"s},
      {"a NUL between tokens", "[1,\0 2]"s},
      {"a record separator", "\x1e{}"},
      {"two values", "1 2"},
      {"two values that touch", "{}{}"},
      {"two values, a comma between", "1,2"},
      {"a comma behind", "1,"},
      {"a semicolon behind", "{};"},
      {"a line comment", "// c\n1"},
      {"a block comment", "/* c */1"},
      {"a comment behind", "1 # c"},
      // Words.
      {"a word cut short", "nul"},
      {"a word too long", "nulll"},
      {"two words that touch", "truefalse"},
      {"a word in capitals", "True"},
      {"a word that is none", "undefined"},
      {"not a number", "NaN"},
      {"infinity", "Infinity"},
      {"minus infinity", "-Infinity"},
      // Numbers.
      {"a minus alone", "-"},
      {"two minuses", "--1"},
      {"a plus", "+1"},
      {"a leading zero", "01"},
      {"a leading zero behind a minus", "-01"},
      {"two zeros", "00"},
      {"no digit before the point", ".5"},
      {"no digit before the point, behind a minus", "-.5"},
      {"no digit behind the point", "1."},
      {"no digit between point and power", "1.e5"},
      {"two points", "1.2.3"},
      {"no digit in the power", "1e"},
      {"no digit in the signed power", "1e+"},
      {"two signs in the power", "1e+-1"},
      {"a power of a power", "1e1e1"},
      {"a fraction in the power", "1e1.5"},
      {"a hexadecimal number", "0x1"},
      {"an octal number", "0o7"},
      {"groups of digits", "1_000"},
      {"a digit of another script", "\xd9\xa1"},
      {"a space in a number", "1 .5"},
      {"a number and a letter", "1a"},
      // Lists and objects.
      {"a list that is not closed", "["},
      {"a list that is only closed", "]"},
      {"a list closed twice", "[1]]"},
      {"a list closed as an object", "[}"},
      {"an object that is not closed", "{"},
      {"an object that is only closed", "}"},
      {"an object closed as a list", "{]"},
      {"an object in a list closed in the wrong order", R"([{"a":1]})"},
      {"a comma before the end of a list", "[1,]"},
      {"a comma at the start of a list", "[,1]"},
      {"a comma alone in a list", "[,]"},
      {"two commas", "[1,,2]"},
      {"no comma in a list", "[1 2]"},
      {"a colon in a list", "[\"a\":1]"},
      {"a comma alone in an object", "{,}"},
      {"a comma before the end of an object", R"({"a":1,})"},
      {"no comma in an object", R"({"a":1 "b":2})"},
      {"a name without a value", R"({"a"})"},
      {"a name and a colon without a value", R"({"a":})"},
      {"a value without a name", "{1}"},
      {"a colon without a name", "{:1}"},
      {"two colons", R"({"a"::1})"},
      {"no colon", R"({"a" 1})"},
      {"a comma for a colon", R"({"a",1})"},
      {"a name without quotes", "{a:1}"},
      {"a number for a name", "{1:2}"},
      {"null for a name", "{null:2}"},
      {"a list for a name", "{[]:2}"},
      // Strings.
      {"a quote alone", "\""},
      {"a string that is not closed", "\"a"},
      {"a string whose closing quote is escaped", R"("\")"},
      {"a string that ends in three backslashes", R"("\\\")"},
      {"single quotes", "'a'"},
      {"two strings that touch", "\"a\"\"b\""},
      {"an escape that is none", R"("\x")"},
      {"an escape by octal number", R"("\0")"},
      {"an escaped single quote", R"("\'")"},
      {"an escape by a capital U", R"("\U0041")"},
      {"an escaped line break", "\"\\\n\""},
      {"an escape of two digits", R"("\u12")"},
      {"an escape of three digits", R"("\u123")"},
      {"an escape of three digits and a letter", R"("\u123g")"},
      {"an escape with a letter beyond f", R"("\u12g4")"},
      {"an escape with a sign", R"("\u+123")"},
      {"an escape cut off by the end", R"("\u123)"},
      {"a backslash outside a string", R"(\u0031)"},
      {"a NUL in a string", "\"\0\""s},
      {"a control character in a name", "{\"a\tb\":1}"},
      // UTF-8. Surrogates and beyond have no bytes there, nor has anything two forms.
      {"a surrogate in UTF-8", "\"\xed\xa0\x80\""},
      {"the last surrogate in UTF-8", "\"\xed\xbf\xbf\""},
      {"a surrogate pair in UTF-8", "\"\xed\xa0\xbd\xed\xb8\x80\""},
      {"beyond the last character", "\"\xf4\x90\x80\x80\""},
      {"a lead byte beyond all", "\"\xf8\x88\x80\x80\x80\""},
      {"a slash in two bytes", "\"\xc0\xaf\""},
      {"a NUL in two bytes", "\"\xc0\x80\""},
      {"a slash in three bytes", "\"\xe0\x80\xaf\""},
      {"a slash in four bytes", "\"\xf0\x80\x80\xaf\""},
      {"a quote in two bytes", "\"a\xc0\xa2"},
      {"the last too long form of two bytes", "\"\xc1\xbf\""},
      {"the last too long form of three bytes", "\"\xe0\x9f\xbf\""},
      {"the last too long form of four bytes", "\"\xf0\x8f\xbf\xbf\""},
      {"a lead byte before the quote", "\"\xc3\""},
      {"two bytes of three", "\"\xe2\x82\""},
      {"three bytes of four", "\"\xf0\x9f\x98\""},
      {"a continuation without a lead", "\"\x80\""},
      {"a byte that is never UTF-8", "\"\xff\""},
      {"Latin-1", "\"caf\xe9\""},
      {"broken UTF-8 outside a string", "\x80"},
      {"broken UTF-8 behind the value", "1 \xc3"},
      // Nesting.
      {"lists nested 1025 deep", times(1025, "[") + times(1025, "]")},
      {"objects nested 1025 deep", times(1025, R"({"a":)") + "1" + times(1025, "}")},
      {"both in turn, 1025 deep", times(512, R"([{"a":)") + "[]" + times(512, "}]")},
      {"1025 deep behind 1024",
       "[" + times(1023, "[") + times(1023, "]") + "," + times(1024, "[") + times(1024, "]") + "]"},
      {"100000 brackets", times(100'000, "[")},
      {"100000 objects", times(100'000, R"({"a":)")},
      {"1024 deep, closed once too often", times(1024, "[") + times(1025, "]")},
      {"1024 deep, closed once too little", times(1024, "[") + times(1023, "]")},
      {"1024 deep, the outermost closed as what it is not", times(1024, R"({"a":)") + "1" + times(1023, "}") + "]"},
  };
  // Each control character, and what is a whole text but for its end.
  for (char control = 0; control < 0x20; ++control)
    texts.push_back(
        {"control character " + std::to_string(control) + " in a string", "\"a" + std::string(1, control) + "b\""});
  const std::string whole = R"({"k":[true,false,null,-12.5e+3,"aé\u00e9\n€😀"]})";
  for (std::size_t size = 1; size < whole.size(); ++size)
    texts.push_back({"a text cut behind byte " + std::to_string(size), whole.substr(0, size)});
  return texts;
}

}  // namespace test
