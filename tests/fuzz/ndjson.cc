// The NDJSON splitter with its JSON check. Cut at any line end, the halves have the lines of the whole; a line is JSON
// or not whether its encoding was checked alone or with all others; space around a text changes nothing; and simdjson,
// which shares no code with our grammar, agrees, but for what it is known to refuse wrongly: numbers beyond its range,
// lone surrogates, more nesting than it was told.
#include "http/ndjson.h"

#include <simdjson.h>

#include <vector>

#include "fuzz.h"
#include "http/json_check.h"

namespace {

using namespace sluiced::http;
using fuzz::Exact;
using fuzz::must;

std::vector<std::string> lines_of(std::string_view text) {
  const Exact exact(text);
  std::vector<std::string> all;
  Lines lines(exact.view());
  while (const auto line = lines.next()) {
    all.emplace_back(*line);
    must(lines.number() == all.size(), "lines are numbered from 1");
    must(line->find('\n') == std::string_view::npos, "a line has no line feed");
  }
  return all;
}

void check_against_simdjson(std::string_view text, const JsonFault& fault) {
  static simdjson::dom::parser parser;
  static const bool is_made = parser.allocate(1U << 16U, 4096) == simdjson::SUCCESS;
  must(is_made, "simdjson has its memory");
  const auto other = parser.parse(text.data(), text.size()).error();
  if (fault) {
    const bool too_deep = std::string_view(fault.what).find("nest") != std::string_view::npos;
    must(other != simdjson::SUCCESS || too_deep, "what simdjson takes is JSON", text);
    return;
  }
  const bool odd_number = other == simdjson::NUMBER_ERROR;
  const bool surrogate = other == simdjson::STRING_ERROR && text.find("\\u") != std::string_view::npos;
  must(other == simdjson::SUCCESS || odd_number || surrogate, "what is JSON, simdjson takes", text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::view(data, size);
  const std::vector<std::string> whole = lines_of(text);

  for (std::size_t cut = text.find('\n'); cut != std::string_view::npos; cut = text.find('\n', cut + 1)) {
    std::vector<std::string> halves = lines_of(text.substr(0, cut + 1));
    const std::vector<std::string> second = lines_of(text.substr(cut + 1));
    halves.insert(halves.end(), second.begin(), second.end());
    must(halves == whole, "cut at a line end there are the same lines", text);
    if (whole.size() > 64) break;  // one cut will do
  }

  const bool all_utf8 = is_utf8(text);
  for (const std::string& line : whole) {
    const Exact exact(line);
    const JsonFault fault = check_json(exact.view());
    must(fault.byte <= line.size() + 1, "a fault is within its text or at its end", line);
    if (all_utf8) {
      const JsonFault grammar = check_json_grammar(exact.view());
      must(grammar.what == fault.what && grammar.byte == fault.byte, "alone or with others, the same", line);
    }
    const Exact spaced(" \t" + line + "\r\n ");
    must(static_cast<bool>(check_json(spaced.view())) == static_cast<bool>(fault), "space changes nothing", line);
    const Exact inside("[" + line + "]");
    if (!fault) must(!check_json(inside.view(), kMaxJsonNesting + 1), "a value may stand in a list", line);
    check_against_simdjson(exact.view(), fault);
  }
  return 0;
}
