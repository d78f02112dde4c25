// The only file that uses Boost.Beast: its parser reads heads in place and calls back; heads that it tolerates and we
// do not are refused in the callbacks. Pure.
#include "http/request.h"

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <cstring>

#include "http/cloud_events.h"
#include "http/text.h"

namespace sluiced::http {
namespace {

namespace beast = boost::beast;
using Error = beast::error_code;
using Text = beast::string_view;

std::string_view view(Text text) noexcept { return {text.data(), text.size()}; }

// Of a list with commas (RFC 9110, 5.6.1), in which members may be empty.
template <typename Visit>
void each_member(std::string_view list, Visit visit) {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    if (const std::string_view member = trimmed(list.substr(0, comma)); !member.empty()) visit(member);
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
}

// RFC 9110, 7.2: uri-host [ ":" port ], or nothing. A comma is allowed in a name, but more likely two hosts were
// joined.
bool is_host(std::string_view text) {
  const std::size_t bracket = text.starts_with('[') ? text.find(']') : std::string_view::npos;
  const std::size_t colon = text.find(':', bracket == std::string_view::npos ? 0 : bracket);
  const std::string_view name = text.substr(0, colon);
  const std::string_view port = colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
  if (!std::all_of(port.begin(), port.end(), is_digit)) return false;
  const auto all = [](std::string_view of, std::string_view others) {
    return std::all_of(of.begin(), of.end(), [others](char c) {
      return is_digit(c) || is_letter(c) || others.find(c) != std::string_view::npos;
    });
  };
  if (!text.starts_with('[')) return all(name, "-._~%!$&'()*+;=");
  return name.size() > 2 && name.ends_with(']') && all(name.substr(1, name.size() - 2), ":.-_~%");
}

// `METHOD TARGET HTTP/d.d`: well formed, and no version of ours.
bool names_a_version(std::string_view text) {
  const std::string_view line = text.substr(0, text.find("\r\n"));
  const std::size_t space = line.rfind(' ');
  if (space == std::string_view::npos || std::count(line.begin(), line.end(), ' ') != 2) return false;
  const std::string_view version = line.substr(space + 1);
  return version.size() == 8 && version.starts_with("HTTP/") && is_digit(version[5]) && version[6] == '.' &&
         is_digit(version[7]);
}

Coding coding_of(std::string_view name) {
  if (equal_without_case(name, "gzip") || equal_without_case(name, "x-gzip")) return Coding::gzip;
  if (equal_without_case(name, "deflate")) return Coding::deflate;
  return equal_without_case(name, "zstd") ? Coding::zstd : Coding::unknown;
}

class Parser final : public beast::http::basic_parser<true> {
 public:
  Parser() {
    header_limit(static_cast<std::uint32_t>(kMaxHead + 4));  // the caller has bounded the head
    body_limit(boost::none);                                 // and bounds the body
  }
  HeadFault parse(std::string_view text, Head& head) {
    head_ = &head;
    Error error;
    put({text.data(), text.size()}, error);
    if (fault_.status != 0) return fault_;
    if (error) return explain(error, text);
    if (hosts_ != 1 && !(head.http10 && hosts_ == 0)) return {400, "exactly one Host field is wanted"};
    if (head.http10 && head.chunked) return {400, "HTTP/1.0 has no transfer codings"};
    head.keep_alive = !close_ && (!head.http10 || stay_);
    if (head.has_length) head.content_length = *content_length();
    return {};
  }

 private:
  static HeadFault explain(const Error& error, std::string_view text) {
    if (error == beast::http::error::bad_version && names_a_version(text)) return {505, "this server speaks HTTP/1.1"};
    if (error == beast::http::error::bad_content_length || error == beast::http::error::multiple_content_length)
      return {400, "the Content-Length is wrong, or not the only length"};
    if (error == beast::http::error::bad_transfer_encoding)
      return {400, "the Transfer-Encoding is wrong, or not the only length"};
    return {400, "the request line or a header field is malformed"};
  }

  void refuse(int status, std::string_view detail, Error& error) {
    fault_ = {status, detail};
    error = beast::http::error::bad_value;  // stops the parser; fault_ is returned
  }

  void on_request_impl(beast::http::verb, Text method, Text target, int version, Error& error) override {
    if (target.size() > kMaxTarget) return refuse(414, "the target is longer than 8 KiB", error);
    head_->method = view(method);
    head_->target = view(target);
    head_->http10 = version == 10;
  }

  void on_field_impl(beast::http::field field, Text name, Text text, Error& error) override {
    const std::string_view value = view(text);
    switch (field) {
      case beast::http::field::host:
        ++hosts_;
        head_->host = value;
        if (!is_host(value)) refuse(400, "the Host is malformed", error);
        return;
      case beast::http::field::origin:
        if (!head_->origin.empty()) return refuse(400, "more than one Origin", error);
        head_->origin = value.empty() ? std::string_view("null") : value;
        return;
      case beast::http::field::access_control_request_method:
        head_->preflight = true;
        return;
      case beast::http::field::content_length:
        if (head_->has_length || value.find_first_not_of("0123456789") != std::string_view::npos)
          return refuse(400, "the Content-Length is wrong, or not the only length", error);
        head_->has_length = true;
        head_->length_digits = value;
        return;
      case beast::http::field::transfer_encoding:
        if (!beast::iequals(text, "chunked")) return refuse(400, "chunked is the only transfer coding", error);
        head_->chunked = true;
        return;
      case beast::http::field::content_type:
        if (has_type_) return refuse(400, "more than one Content-Type", error);
        has_type_ = true;
        head_->content_type = value;
        return;
      case beast::http::field::content_encoding:
        add_codings(value);
        return;
      case beast::http::field::connection:
        each_member(value, [this](std::string_view member) {
          close_ = close_ || equal_without_case(member, "close");
          stay_ = stay_ || equal_without_case(member, "keep-alive");
        });
        return;
      case beast::http::field::expect:
        if (head_->http10) return;
        each_member(value, [this](std::string_view member) {
          (equal_without_case(member, "100-continue") ? head_->expects_continue : head_->expects_else) = true;
        });
        return;
      default:
        if (is_cloud_event_field(view(name))) {
          head_->cloud_event.push_back({view(name), value});
        } else if (equal_without_case(view(name), "Sec-Fetch-Site")) {
          head_->cross_site =
              head_->cross_site || !(equal_without_case(value, "same-origin") || equal_without_case(value, "none"));
        } else if (equal_without_case(view(name), "Sluice-Admin")) {
          head_->for_admin = value == "1";
        }
        return;
    }
  }

  // `identity` does not count; of all others at most one is allowed.
  void add_codings(std::string_view list) {
    each_member(list, [this](std::string_view name) {
      if (equal_without_case(name, "identity")) return;
      head_->coding = head_->coding == Coding::identity ? coding_of(name) : Coding::unknown;
    });
  }

  void on_header_impl(Error&) override {}
  void on_chunk_header_impl(std::uint64_t, Text, Error&) override {}  // bodies are read by others
  std::size_t on_chunk_body_impl(std::uint64_t, Text body, Error&) override { return body.size(); }
  void on_body_init_impl(const boost::optional<std::uint64_t>&, Error&) override {}
  std::size_t on_body_impl(Text body, Error&) override { return body.size(); }
  void on_finish_impl(Error&) override {}
  void on_response_impl(int, Text, int, Error&) override {}

  Head* head_ = nullptr;  // only while its head is parsed
  HeadFault fault_;
  int hosts_ = 0;
  bool has_type_ = false;
  bool close_ = false, stay_ = false;  // as Connection says; closing wins
};

}  // namespace

FoundHead find_head(std::string_view text, std::size_t searched) noexcept {
  using State = FoundHead::State;
  if (!text.empty() && (text[0] <= ' ' || text[0] > '~')) return {State::bad, 0};  // not HTTP at all: no use to wait
  for (std::size_t at = searched;;) {
    const void* found = at == text.size() ? nullptr : std::memchr(text.data() + at, '\n', text.size() - at);
    if (found == nullptr) return {State::partial, text.size()};
    const auto feed = static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
    if (feed == 0 || text[feed - 1] != '\r') return {State::bad, feed};
    if (feed >= 3 && text[feed - 2] == '\n') return {State::whole, feed + 1};
    if (feed + 1 == text.size()) return {State::partial, feed};  // the next byte decides whether the field is folded
    if (text[feed + 1] == ' ' || text[feed + 1] == '\t') return {State::bad, feed};
    at = feed + 1;
  }
}

HeadFault parse_head(std::string_view text, Head& head) { return Parser().parse(text, head); }

std::string_view path_of(std::string_view target) noexcept {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!equal_without_case(target.substr(0, scheme.size()), scheme)) continue;
    const std::size_t end = std::min(target.find_first_of("/?", scheme.size()), target.size());
    target.remove_prefix(end);
    if (!target.starts_with('/')) return "/";
  }
  return target.substr(0, target.find('?'));
}

bool is_tidy(std::string_view path) noexcept {
  return path.size() < 2 || (!path.ends_with('/') && path.find("//") == std::string_view::npos);
}

std::string tidied(std::string_view path) {
  std::string tidy;
  for (const char c : path) {
    if (c != '/' || !tidy.ends_with('/')) tidy += c;
  }
  if (tidy.size() > 1 && tidy.ends_with('/')) tidy.pop_back();
  return tidy;
}

}  // namespace sluiced::http
