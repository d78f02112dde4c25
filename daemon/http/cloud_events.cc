// First a reader of JSON that is known to be valid, then the validator of an event, then binary mode, which writes JSON
// and runs the same validator. Pure.
#include "http/cloud_events.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <deque>
#include <functional>
#include <utility>

#include "http/json_check.h"
#include "http/text.h"
#include "text/base64.h"
#include "text/json_string.h"
#include "text/media_type.h"
#include "text/utf8.h"

namespace sluiced::http {
namespace {

CloudFault malformed(std::string detail) { return {400, std::move(detail)}; }

bool is_between(char c, char first, char last) noexcept { return c >= first && c <= last; }
// ---- reading text that check_json has passed, so without checks of the grammar

void skip_space(std::string_view& rest) noexcept {
  const std::size_t at = rest.find_first_not_of(" \t\r\n");
  rest.remove_prefix(at == std::string_view::npos ? rest.size() : at);
}

// The length of the string in front, with its quotes.
std::size_t string_size(std::string_view text) noexcept {
  for (std::size_t end = 1;; ++end) {
    end = text.find('"', end);
    std::size_t slashes = 0;  // an odd number of them escapes the quote
    while (text[end - 1 - slashes] == '\\') ++slashes;
    if (slashes % 2 == 0) return end + 1;
  }
}

std::size_t nested_size(std::string_view text) noexcept {
  std::size_t depth = 0;
  for (std::size_t at = 0;; ++at) {
    switch (text[at]) {
      case '"':
        at += string_size(text.substr(at)) - 1;
        break;
      case '{':
      case '[':
        ++depth;
        break;
      case '}':
      case ']':
        if (--depth == 0) return at + 1;
        break;
      default:
        break;
    }
  }
}

// The value in front; `rest` begins behind it and the space after it.
std::string_view take_value(std::string_view& rest) noexcept {
  const bool nested = rest.front() == '{' || rest.front() == '[';
  const std::size_t size = rest.front() == '"' ? string_size(rest)
                           : nested            ? nested_size(rest)
                                               : std::min(rest.find_first_of(",]} \t\r\n"), rest.size());
  const std::string_view value = rest.substr(0, size);
  rest.remove_prefix(size);
  skip_space(rest);
  return value;
}

// If the text is an object or a list: its inside, with the closing bracket.
std::optional<std::string_view> inside(std::string_view text, char bracket) noexcept {
  skip_space(text);
  if (text.empty() || text.front() != bracket) return std::nullopt;
  text.remove_prefix(1);
  skip_space(text);
  return text;
}

// To the next element or member; false if there is none.
bool at_next(std::string_view& rest) noexcept {
  if (rest.front() == '}' || rest.front() == ']') return false;
  if (rest.front() == ',') {
    rest.remove_prefix(1);
    skip_space(rest);
  }
  return true;
}

std::string_view without_quotes(std::string_view string) noexcept { return string.substr(1, string.size() - 2); }

// The characters of a string, unescaped. Of characters beyond ASCII it only says that they are.
class Characters {
 public:
  explicit Characters(std::string_view inside_quotes) noexcept : rest_(inside_quotes) {}

  static constexpr int kEnd = -1;
  int next() noexcept {
    if (rest_.empty()) return kEnd;
    const auto first = static_cast<unsigned char>(take());
    if (first != '\\') return first;
    const char kind = take();
    if (kind != 'u') return sluice::json_unescaped(kind);
    int unit = 0;
    for (int i = 0; i < 4; ++i) unit = unit * 16 + sluice::hex_value(take());
    return unit;
  }

 private:
  char take() noexcept {
    const char c = rest_.front();
    rest_.remove_prefix(1);
    return c;
  }

  std::string_view rest_;
};

// Whether the text inside quotes is the word, with or without escapes.
bool means(std::string_view text, std::string_view word) noexcept {
  Characters characters(text);
  for (const char c : word) {
    if (characters.next() != c) return false;
  }
  return characters.next() == Characters::kEnd;
}

// ---- the validator of an event

// CloudEvents, "Naming Conventions".
bool may_be_in_name(int c) noexcept { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

bool is_attribute_name(std::string_view name) noexcept {
  return !name.empty() && std::ranges::all_of(name, may_be_in_name);
}

// A client's text as our answer shows it: short, without characters that need escaping.
std::string shown(std::string_view text) {
  constexpr std::size_t most = 40;
  std::string clean(text.substr(0, most));
  for (char& c : clean) {
    if (!is_between(c, 'a', 'z') && !is_between(c, 'A', 'Z') && !is_between(c, '0', '9') && c != '-' && c != '_')
      c = '?';
  }
  return text.size() > most ? clean + "..." : clean;
}

CloudFault wrong(std::string_view name, std::string_view how) {
  return malformed(fmt::format("the attribute {} {}", shown(name), how));
}
CloudFault no_name(std::string_view name) {
  return malformed(
      fmt::format("'{}' is not the name of an attribute: lower-case letters and digits, not data", shown(name)));
}

// RFC 4648, section 4: with padding, and nothing else in it.
bool is_base64(std::string_view inside_quotes) noexcept {
  Characters characters(inside_quotes);
  std::size_t digits = 0;
  int c = characters.next();
  const auto is_base64_digit = [](int d) {
    return d >= 0 && d < 0x80 && sluice::is_base64_digit(static_cast<char>(d));
  };
  for (; is_base64_digit(c); c = characters.next()) ++digits;
  std::size_t padding = 0;
  for (; c == '='; c = characters.next()) ++padding;
  return c == Characters::kEnd && padding <= 2 && (digits + padding) % 4 == 0;
}

bool is_integer(std::string_view number) noexcept {
  std::int32_t value = 0;  // the range of CloudEvents' Integer
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  return error == std::errc() && end == number.data() + number.size();
}

// The attributes of the specification itself: all are strings, none is empty.
constexpr std::array<std::string_view, 8> kCore = {"specversion",     "id",         "source",  "type",
                                                   "datacontenttype", "dataschema", "subject", "time"};
constexpr std::size_t kRequired = 4;  // the first of these

constexpr std::size_t kFew = 32;  // names; so many are sorted as fast as they are hashed

// True: no two names are equal, since their hashes differ. False: unknown; a long search in the table is given up, so
// that no choice of names makes it slow.
bool all_differ(std::span<const std::string_view> names) {
  std::array<std::size_t, 2 * kMaxMembers> table{};  // 0: free
  constexpr std::size_t longest = 16;
  for (const std::string_view name : names) {
    const std::size_t hash = std::max<std::size_t>(std::hash<std::string_view>()(name), 1);
    std::size_t tries = 0;
    while (tries < longest && table[(hash + tries) % table.size()] != 0) {
      if (table[(hash + tries) % table.size()] == hash) return false;
      ++tries;
    }
    if (tries == longest) return false;
    table[(hash + tries) % table.size()] = hash;
  }
  return true;
}

// Checks each member of one event, then all of them together.
class Validator {
 public:
  // `written`: the text between the quotes of the name.
  CloudFault check(std::string_view written, std::string_view value) {
    if (count_ == names_.size()) return malformed(fmt::format("an event has at most {} members", kMaxMembers));
    const std::string_view name = written.find('\\') == std::string_view::npos ? written : unescaped(written);
    names_[count_++] = name;

    if (name == "data") {  // any value; null is one
      has_data_ = true;
      return {};
    }
    const bool unset = value == "null";
    if (name == "data_base64") {
      has_base64_ = !unset;
      if (unset || (value.front() == '"' && is_base64(without_quotes(value)))) return {};
      return malformed("data_base64 is not a string in Base64");
    }
    if (!is_attribute_name(name)) return no_name(written);
    return unset ? CloudFault() : check_attribute(name, value);
  }

  CloudFault end() {
    if (CloudFault doubled = find_double()) return doubled;
    for (std::size_t i = 0; i < kRequired; ++i) {
      if (!found_[i]) return wrong(kCore[i], "is missing");
    }
    if (has_data_ && has_base64_) return malformed("an event has data or data_base64, not both");
    return {};
  }

 private:
  CloudFault check_attribute(std::string_view name, std::string_view value) {
    const auto* const core = std::ranges::find(kCore, name);
    if (core == kCore.end()) return check_extension(name, value);
    if (value.front() != '"') return wrong(*core, "is not a string");
    const std::string_view text = without_quotes(value);
    if (text.empty()) return wrong(*core, "is empty");
    if (core == kCore.begin() && !means(text, "1.0")) return wrong(*core, "is not 1.0");
    found_[static_cast<std::size_t>(core - kCore.begin())] = true;
    return {};
  }

  static CloudFault check_extension(std::string_view name, std::string_view value) {
    switch (value.front()) {
      case '"':
      case 't':
      case 'f':
        return {};
      case '{':
      case '[':
        return wrong(name, "is an object or a list: attributes are strings, integers and booleans");
      default:
        return is_integer(value) ? CloudFault() : wrong(name, "is not an integer of 32 bits");
    }
  }

  CloudFault find_double() {
    const std::span<std::string_view> names(names_.data(), count_);
    if (names.size() > kFew && all_differ(names)) return {};
    std::ranges::sort(names);
    const auto doubled = std::ranges::adjacent_find(names);
    if (doubled == names.end()) return {};
    return malformed(fmt::format("the member {} is there twice", shown(*doubled)));
  }

  // Done once for each name. A character beyond ASCII becomes a byte that no valid name has.
  std::string_view unescaped(std::string_view written) {
    std::string& name = unescaped_.emplace_back();
    Characters characters(written);
    for (int c = characters.next(); c != Characters::kEnd; c = characters.next())
      name += c < 0x80 ? static_cast<char>(c) : '\xff';
    return name;
  }

  std::array<std::string_view, kMaxMembers> names_;  // escapes undone
  std::deque<std::string> unescaped_;                // the text of names that had escapes
  std::size_t count_ = 0;
  std::array<bool, kCore.size()> found_{};
  bool has_data_ = false;
  bool has_base64_ = false;
};

// ---- binary mode

constexpr std::string_view kPrefix = "ce-";

// Appends, and keeps the first fault.
class Output {
 public:
  Output(ChargedBytes& out, std::size_t limit) noexcept : out_(out), limit_(limit) {}

  // Room for `more` bytes that are to come.
  void reserve(std::size_t more) {
    static_cast<void>(has_room(more) && (out_.try_reserve(out_.size() + more) || fail(429)));
  }
  void put(std::string_view bytes) {
    static_cast<void>(has_room(bytes.size()) && (out_.try_append(bytes) || fail(429)));
  }
  void put_string(std::string_view text);  // with quotes; UTF-8
  void put_base64(std::string_view bytes);

  [[nodiscard]] CloudFault fault() const {
    if (status_ == 0) return {};
    return {status_, status_ == 429 ? "no room to take this now"
                                    : fmt::format("in the JSON format this event is larger than {} bytes", limit_)};
  }

 private:
  bool fail(int status) noexcept {
    if (status_ == 0) status_ = status;
    return false;
  }
  bool has_room(std::size_t more) noexcept {
    return status_ == 0 && ((out_.size() <= limit_ && more <= limit_ - out_.size()) || fail(413));
  }

  ChargedBytes& out_;
  const std::size_t limit_;
  int status_ = 0;
};

void Output::put_string(std::string_view text) {
  sluice::put_json_string(text, [this](std::string_view piece) { put(piece); });
}

void Output::put_base64(std::string_view bytes) {
  reserve(sluice::base64_size(bytes.size()));
  if (status_ != 0) return;
  sluice::put_base64(std::as_bytes(std::span(bytes)), [this](std::string_view piece) { put(piece); });
}

// The inside of a value that is one quoted string. False: it is not.
bool unquote(std::string_view value, std::string& text) {
  text.clear();
  if (!value.starts_with('"')) return false;
  for (value.remove_prefix(1); !value.starts_with('"'); value.remove_prefix(1)) {
    if (value.starts_with('\\')) value.remove_prefix(1);
    if (value.empty()) return false;
    text += value.front();
  }
  return value.size() == 1;
}

// From ISO 8859-1, the encoding of old fields, to UTF-8.
std::string from_latin1(std::string_view text) {
  std::string utf8;
  for (const char c : text) sluice::put_utf8(utf8, static_cast<unsigned char>(c));
  return utf8;
}

// The HTTP binding, 3.1.3.2: first quotes are removed, then percent escapes are decoded. Not all senders write so: a
// percent sign that begins no escape is taken as it is, as are quotes around no quoted string; bytes beyond ASCII are
// UTF-8, or else ISO 8859-1, as Node writes them. False: the escapes do not decode to UTF-8.
bool decode(std::string_view value, std::string& text) {
  if (!unquote(value, text)) text = value;
  if (!is_utf8(text)) text = from_latin1(text);
  std::size_t size = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    char c = text[at];
    const int high = c == '%' && text.size() - at >= 3 ? sluice::hex_value(text[at + 1]) : -1;
    const int low = high >= 0 ? sluice::hex_value(text[at + 2]) : -1;
    if (low >= 0) {
      c = static_cast<char>(high * 16 + low);
      at += 2;
    }
    text[size++] = c;
  }
  text.resize(size);
  return is_utf8(text);
}

// The form of the data, by its Content-Type.
enum class Form : std::uint8_t { json, text, bytes };

Form form_of(std::string_view content_type) noexcept {
  const sluice::MediaType type(content_type);
  const std::string_view subtype = type.subtype();
  const auto is_a = [&](std::string_view name, std::string_view suffix) {  // application/NAME, or anything+NAME
    return equal_without_case(subtype, name) || (!subtype.empty() && type.has_suffix(suffix));
  };
  if (is_a("json", "+json")) return Form::json;
  const std::string_view charset = type.parameter("charset");
  const bool utf8 = equal_without_case(charset, "utf-8") || equal_without_case(charset, "us-ascii");
  if (!charset.empty()) return utf8 ? Form::text : Form::bytes;
  return is_a("xml", "+xml") || type.is_text() ? Form::text : Form::bytes;
}

}  // namespace

CloudBatch::CloudBatch(std::string_view checked) noexcept : rest_(*inside(checked, '[')) {}

std::optional<std::string_view> CloudBatch::next() noexcept {
  if (!at_next(rest_)) return std::nullopt;
  return take_value(rest_);
}

CloudFault check_batched_event(std::string_view element) {
  std::optional<std::string_view> rest = inside(element, '{');
  if (!rest) return malformed("an event is a JSON object");
  Validator validator;
  while (at_next(*rest)) {
    const std::string_view name = without_quotes(take_value(*rest));
    rest->remove_prefix(1);  // the colon
    skip_space(*rest);
    if (CloudFault fault = validator.check(name, take_value(*rest))) return fault;
  }
  return validator.end();
}

CloudFault check_cloud_event(std::string_view text) {
  if (const JsonFault fault = check_json(text)) return malformed(to_string(fault));
  return check_batched_event(text);
}

CloudFault check_cloud_batch(std::string_view text) {
  if (const JsonFault fault = check_json(text)) return malformed(to_string(fault));
  return inside(text, '[') ? CloudFault() : malformed("a batch is a JSON array");
}

bool is_cloud_event_field(std::string_view name) noexcept {
  return equal_without_case(name.substr(0, kPrefix.size()), kPrefix);
}

CloudFault put_attributes(std::span<const Field> fields, std::string_view content_type, ChargedBytes& out) {
  Output to(out, SIZE_MAX);
  std::string name;
  std::string value;
  const auto put_member = [&] {
    to.put(out.empty() ? "{\"" : ",\"");
    to.put(name);
    to.put("\":");
    to.put_string(value);
  };
  for (const Field& field : fields) {
    name = field.name.substr(kPrefix.size());
    std::ranges::transform(name, name.begin(), lower);
    if (name.empty() || name == "data" || !std::ranges::all_of(name, may_be_in_name)) return no_name(name);
    if (name == "datacontenttype") return malformed("the datacontenttype is the Content-Type, not a field of its own");
    if (!decode(field.value, value)) return wrong(name, "is not percent-encoded UTF-8");
    put_member();
  }
  if (!content_type.empty()) {
    if (!is_utf8(content_type)) return malformed("the Content-Type is not UTF-8");
    name = "datacontenttype";
    value = content_type;
    put_member();
  }
  to.put("}");
  if (CloudFault fault = to.fault()) return fault;
  if (CloudFault fault = check_batched_event(out.view())) return fault;
  out.drop_back(1);
  return {};
}

CloudFault put_data(std::string_view content_type, std::string_view body, std::size_t limit, ChargedBytes& out) {
  Output to(out, limit);
  if (!body.empty()) {
    // Without a type the JSON format says that the data is JSON; we follow that if it is valid JSON.
    const Form form = content_type.empty() ? Form::json : form_of(content_type);
    const std::string_view json = without_mark(body);
    JsonFault no_json;
    if (form == Form::json) no_json = check_json(json, kMaxJsonNesting - 1);  // one level is the event's own
    if (form == Form::json && !no_json) {
      to.put(",\"data\":");
      to.put(json);
    } else if (form == Form::json && !content_type.empty()) {
      return malformed("the data: " + to_string(no_json));
    } else if (form == Form::text && is_utf8(body)) {
      to.put(",\"data\":");
      to.put_string(body);
    } else {
      to.put(",\"data_base64\":\"");
      to.put_base64(body);
      to.put("\"");
    }
  }
  to.put("}");
  return to.fault();
}

}  // namespace sluiced::http
