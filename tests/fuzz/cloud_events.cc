// The CloudEvents converter. What it takes as an event is JSON with the members that must be there, as SQLite reads it,
// which shares no code with it; a batch, cut into its events, is the same list; an event is one alone if and only if it
// is one in a batch. What it makes of binary mode is an event, with each attribute and the data to the letter, and not
// a byte larger than its limit.
//
// An input is a text in the JSON format; or, if its first byte is 'B', `NAME:VALUE` fields a line, an empty line, a
// line that is the Content-Type, and the body.
#include "http/cloud_events.h"

#include <optional>
#include <vector>

#include "fuzz.h"
#include "http/json_check.h"
#include "support/json_members.h"

namespace {

using namespace sluiced::http;
using fuzz::Exact;
using fuzz::must;

void must_read_well(const CloudFault& fault) {
  must(fault.status == 400 || fault.status == 413, "a fault has a status");
  must(!check_json('"' + fault.detail + '"'), "a reason can stand in JSON", fault.detail);
}

// Null characters end a text for SQLite.
bool others_can_read(std::string_view text) { return text.find("\\u0000") == std::string_view::npos; }

void check_members(const test::Members& members, std::string_view event) {
  must(members.contains("specversion") && members.at("specversion") == "text 1.0", "the version is 1.0", event);
  for (const char* name : {"id", "source", "type"}) {
    const auto found = members.find(name);
    must(found != members.end() && found->second.starts_with("text ") && found->second.size() > 5,
         "what is required is there", event);
  }
  const auto data = members.find("data_base64");
  must(!members.contains("data") || data == members.end() || data->second == "null", "the data is there once", event);
}

void check_structured(std::string_view text) {
  const Exact exact(text);
  const CloudFault fault = check_cloud_event(exact.view());
  if (fault) {
    must_read_well(fault);
  } else {
    must(!check_json(exact.view()), "an event is JSON", text);
    if (others_can_read(text)) check_members(test::members_of(text), text);
  }
  const Exact list("[" + std::string(text) + "]");
  if (!fault) must(!check_cloud_batch(list.view()), "an event makes a batch", text);

  if (const CloudFault bad = check_cloud_batch(exact.view())) return must_read_well(bad);
  std::string again = "[";
  CloudBatch batch(exact.view());
  while (const auto element = batch.next()) {
    const Exact alone(*element);
    must(!check_json(alone.view()), "an element is JSON", text);
    must(static_cast<bool>(check_batched_event(alone.view())) == static_cast<bool>(check_cloud_event(alone.view())),
         "an event in a batch is one alone", *element);
    if (again.size() > 1) again += ',';
    again += *element;
  }
  again += ']';
  if (others_can_read(text)) {
    must(test::members_of("{\"a\":" + again + "}") == test::members_of("{\"a\":" + std::string(text) + "}"),
         "its events are the batch", text);
  }
}

std::optional<int> value_of(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return std::nullopt;
}

// As the binding says: a value that is one quoted string is unquoted, %XX is a byte, other characters are themselves. A
// value that is not UTF-8 is ISO 8859-1, whose 256 characters are Unicode's first.
std::string decoded(std::string_view sent) {
  std::string quoted;
  std::size_t at = 1;
  for (; at < sent.size() && sent[at] != '"'; ++at) {
    if (sent[at] == '\\') ++at;
    if (at < sent.size()) quoted += sent[at];
  }
  const bool is_quoted = sent.starts_with('"') && at + 1 == sent.size();
  const std::string value = is_quoted ? quoted : std::string(sent);
  std::string unquoted;
  for (const char c : value) {
    if (is_utf8(value) || (c & 0x80) == 0) {
      unquoted += c;
    } else {
      unquoted += (c & 0x40) == 0 ? '\xC2' : '\xC3';
      unquoted += static_cast<char>(c & ~0x40);
    }
  }
  std::string text;
  for (std::size_t i = 0; i < unquoted.size(); ++i) {
    const bool escape = unquoted[i] == '%' && i + 2 < unquoted.size();
    const auto high = escape ? value_of(unquoted[i + 1]) : std::nullopt;
    const auto low = escape ? value_of(unquoted[i + 2]) : std::nullopt;
    text += high && low ? static_cast<char>(*high * 16 + *low) : unquoted[i];
    if (high && low) i += 2;
  }
  return text;
}

std::string base64_of(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t three = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      three = three << 8U | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      text += i + k > bytes.size() ? '=' : kDigits[three >> (18 - 6 * k) & 63U];
    }
  }
  return text;
}

void check_binary(std::string_view text) {
  fuzz::Pieces pieces(text);
  std::vector<std::string> kept;
  std::vector<Field> fields;
  while (!pieces.empty()) {
    const std::string_view line = pieces.next('\n');
    if (line.empty()) break;
    fuzz::Pieces halves(line);
    const std::string_view name = halves.next(':');
    fields.push_back({name, halves.rest()});
    must(is_cloud_event_field(name) == (name.size() >= 3 && (name[0] == 'c' || name[0] == 'C') &&
                                        (name[1] == 'e' || name[1] == 'E') && name[2] == '-'),
         "fields of an event begin with ce-", name);
    if (!is_cloud_event_field(name)) fields.pop_back();
  }
  const std::string_view content_type = pieces.next('\n');
  const Exact body(pieces.rest());

  Budget budget(std::size_t{64} << 20U);
  std::string event;
  {
    ChargedBytes out(budget);
    if (const CloudFault fault = put_attributes(fields, content_type, out)) return must_read_well(fault);
    if (const CloudFault fault = put_data(content_type, body.view(), SIZE_MAX, out)) return must_read_well(fault);
    event = out.view();
  }
  for (const std::size_t less : {0U, 1U}) {
    ChargedBytes out(budget);
    must(!put_attributes(fields, content_type, out), "the same again", event);
    const CloudFault fault = put_data(content_type, body.view(), event.size() - less, out);
    must(fault.status == (less == 0 ? 0 : 413), "as large as its limit, and no larger", event);
  }
  must(budget.used() == 0, "all is given back");

  const Exact exact(event);
  must(!check_cloud_event(exact.view()), "what is made is an event", event);
  if (!others_can_read(event)) return;
  const test::Members members = test::members_of(event);
  check_members(members, event);
  std::size_t expected = fields.size() + (content_type.empty() ? 0 : 1) + (body.view().empty() ? 0 : 1);
  must(members.size() == expected, "what was sent is there, and nothing else", event);
  for (const Field& field : fields) {
    std::string name(field.name.substr(3));
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    must(members.at(name) == "text " + decoded(field.value), "an attribute is what was sent", event);
  }
  if (!content_type.empty()) {
    must(members.at("datacontenttype") == "text " + std::string(content_type), "the type is what was sent", event);
  }
  if (members.contains("data_base64")) {
    must(members.at("data_base64") == "text " + base64_of(body.view()), "bytes are what was sent", event);
  } else if (!body.view().empty()) {
    const bool as_it_came = event.find(",\"data\":" + std::string(body.view()) + "}") != std::string::npos;
    must(as_it_came || members.at("data") == "text " + std::string(body.view()), "data is what was sent", event);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::view(data, size);
  if (text.starts_with('B')) {
    check_binary(text.substr(1));
  } else {
    check_structured(text);
  }
  return 0;
}
