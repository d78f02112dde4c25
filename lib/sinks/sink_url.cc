// Read from parse_sink_url() up. See the header.
#include "sinks/sink_url.h"

#include <fmt/core.h>

#include <charconv>
#include <optional>
#include <vector>

#include "sluice/sinks.h"
#include "text/quantity.h"

namespace sluice {

namespace {

struct Parameter {
  std::string_view name, value;
};

std::optional<double> parse_probability(std::string_view text) {
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value, std::chars_format::fixed);
  if (error != std::errc() || rest != end || !(value >= 0 && value <= 1)) return std::nullopt;
  return value;
}

std::optional<bool> parse_bool(std::string_view text) {
  if (text == "true") return true;
  if (text == "false") return false;
  return std::nullopt;
}

std::optional<LineFormat> parse_format(std::string_view text) {
  if (text == "json") return LineFormat::json;
  if (text == "raw") return LineFormat::raw;
  return std::nullopt;
}

// Reports the first error of a URL.
class Parser {
 public:
  explicit Parser(std::string_view url) : url_(url) {}

  SinkUrl parse() {
    const std::size_t colon = url_.find(':');
    if (colon == std::string_view::npos) return unknown_sink();
    const std::string_view scheme = url_.substr(0, colon);
    const std::string_view rest = url_.substr(colon + 1);
    const std::size_t question = rest.find('?');
    path_ = rest.substr(0, question);
    if (question != std::string_view::npos) split(rest.substr(question + 1));

    if (scheme == "null") return null();
    if (scheme == "stdout") return standard_output();
    if (scheme == "file") return file();
    if (scheme == "sqlite") return sqlite();
    return unknown_sink();
  }

 private:
  SinkUrl null() {
    NullBehaviour null;
    no_path();
    for (const Parameter& parameter : parameters_) {
      if (parameter.name == "delay") {
        read(parameter, parse_duration, null.delay, "0 or an integer with us, ms, s, min or h");
      } else if (parameter.name == "fail") {
        read(parameter, parse_probability, null.fail, "a number from 0 to 1");
      } else if (parameter.name == "refuse") {
        read(parameter, parse_probability, null.refuse, "a number from 0 to 1");
      } else if (parameter.name == "hang") {
        read(parameter, parse_bool, null.hang, "true or false");
      } else if (parameter.name == "spin") {
        read(parameter, parse_bool, null.spin, "true or false");
      } else {
        unknown(parameter, "delay, fail, refuse, hang, spin");
      }
    }
    return or_error(null);
  }

  SinkUrl standard_output() {
    no_path();
    const LineFormat format = only_a_format();
    return or_error(StdoutUrl{format});
  }

  SinkUrl file() {
    need_path();
    const LineFormat format = only_a_format();
    return or_error(FileUrl{std::string(path_), format});
  }

  SinkUrl sqlite() {
    need_path();
    if (path_.starts_with(':')) fail("a database in memory keeps nothing; sqlite:PATH is allowed");
    for (const Parameter& parameter : parameters_) unknown(parameter, "none for sqlite:");
    return or_error(SqliteUrl{std::string(path_)});
  }

  SinkUrl unknown_sink() {
    fail("no such sink; allowed are null: stdout: file:PATH sqlite:PATH");
    return BadUrl{error_};
  }

  LineFormat only_a_format() {
    LineFormat format = LineFormat::json;
    for (const Parameter& parameter : parameters_) {
      if (parameter.name == "format") {
        read(parameter, parse_format, format, "json or raw");
      } else {
        unknown(parameter, "format");
      }
    }
    return format;
  }

  void split(std::string_view text) {
    while (true) {
      const std::size_t end = text.find('&');
      const std::string_view parameter = text.substr(0, end);
      const std::size_t equals = parameter.find('=');
      const bool has_value = equals != std::string_view::npos;
      parameters_.push_back({parameter.substr(0, equals), has_value ? parameter.substr(equals + 1) : ""});
      if (end == std::string_view::npos) return;
      text.remove_prefix(end + 1);
    }
  }

  template <class Value>
  void read(const Parameter& parameter, std::optional<Value> (*parse_value)(std::string_view), Value& to,
            std::string_view allowed) {
    if (const auto value = parse_value(parameter.value)) {
      to = *value;
    } else {
      fail(fmt::format("parameter {}={} must be {}", parameter.name, parameter.value, allowed));
    }
  }
  void unknown(const Parameter& parameter, std::string_view allowed) {
    fail(fmt::format("no such parameter: \"{}\"; allowed: {}", parameter.name, allowed));
  }
  void no_path() {
    if (!path_.empty()) fail(fmt::format("no path goes here: \"{}\"", redacted(path_)));
  }
  void need_path() {
    // file:///a/b means /a/b; anything but a slash after the two would be a host.
    if (path_.starts_with("//")) {
      path_.remove_prefix(2);
      if (!path_.starts_with('/')) fail("a path on another host; allowed is one on this: file:PATH or file:///PATH");
    }
    if (path_.empty()) fail("the path is missing");
    if (path_.find('\0') != std::string_view::npos) fail("a path has no zero byte");
  }

  // Keeps the first error.
  void fail(std::string_view what) {
    if (error_.empty()) error_ = fmt::format("sink {}: {}", redacted(url_), what);
  }
  template <class Url>
  SinkUrl or_error(Url url) const {
    if (error_.empty()) return url;
    return BadUrl{error_};
  }

  std::string_view url_;
  std::string_view path_;
  std::vector<Parameter> parameters_;
  std::string error_;
};

}  // namespace

SinkUrl parse_sink_url(std::string_view url) { return Parser(url).parse(); }

}  // namespace sluice
