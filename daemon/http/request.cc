// The only file that sees Boost.Beast: its parser, fed from the buffer that the socket was read into, with our
// callbacks.
#include "http/request.h"

#include <boost/beast/http/basic_parser.hpp>
#include <cstring>

#include "http/cloud_events.h"

namespace sluiced::http {
namespace {

namespace beast = boost::beast;
using Error = beast::error_code;
using Text = beast::string_view;

std::string_view view(Text text) noexcept { return {text.data(), text.size()}; }

class Parser final : public beast::http::basic_parser<true>, public ChunkReader {
  using Base = beast::http::basic_parser<true>;

 public:
  Parser() {
    header_limit(static_cast<std::uint32_t>(kMaxHead + 4));  // the caller has measured the head
    body_limit(boost::none);                                 // and counts the body
  }
  Parser(Parser&& other) noexcept : Base(std::move(other)), ChunkReader(), in_body_(true) {}

  HeadFault parse(std::string_view text, Head& head) {
    head_ = &head;
    Error error;
    put({text.data(), text.size()}, error);
    if (fault_.status != 0) return fault_;
    if (error) return explain(error, text);
    if (hosts_ != 1 && !(head.http10 && hosts_ == 0)) return {400, "exactly one Host field is wanted"};
    if (head.http10 && head.chunked) return {400, "HTTP/1.0 has no transfer codings"};
    head.keep_alive = keep_alive();
    if (head.has_length) head.content_length = *content_length();
    in_body_ = true;
    return {};
  }

  ChunkStep step(std::string_view input) override {
    if (input.empty()) return {ChunkStep::State::starved, 0, {}};
    data_ = {};
    Error error;
    const std::size_t used = put({input.data(), input.size()}, error);
    if (error == beast::http::error::need_more) return {ChunkStep::State::starved, used, data_};
    if (error) return {ChunkStep::State::bad, used, data_};
    return {is_done() ? ChunkStep::State::done : ChunkStep::State::going, used, data_};
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

  // `METHOD TARGET HTTP/d.d`: well formed, and no version of ours.
  static bool names_a_version(std::string_view text) {
    const std::string_view line = text.substr(0, text.find("\r\n"));
    const std::size_t space = line.rfind(' ');
    if (space == std::string_view::npos) return false;
    const std::string_view version = line.substr(space + 1);
    const auto digit = [](char c) { return c >= '0' && c <= '9'; };
    return version.size() == 8 && version.starts_with("HTTP/") && digit(version[5]) && version[6] == '.' &&
           digit(version[7]);
  }

  void refuse(int status, std::string_view detail, Error& error) {
    fault_ = {status, detail};
    error = beast::http::error::bad_value;  // stops the parser; the fault is what counts
  }

  void on_request_impl(beast::http::verb, Text method, Text target, int version, Error& error) override {
    if (target.size() > kMaxTarget) return refuse(414, "the target is longer than 8 KiB", error);
    head_->method = view(method);
    head_->target = view(target);
    head_->http10 = version == 10;
  }

  void on_field_impl(beast::http::field field, Text name, Text text, Error& error) override {
    if (in_body_) return;  // a trailer: nothing of ours is there
    const std::string_view value = view(text);
    switch (field) {
      case beast::http::field::host:
        ++hosts_;
        if (value.find_first_of(" \t,/?#@\\") != std::string_view::npos) refuse(400, "the Host is malformed", error);
        return;
      case beast::http::field::content_length:
        if (head_->has_length || value.find_first_not_of("0123456789") != std::string_view::npos)
          return refuse(400, "the Content-Length is wrong, or not the only length", error);
        head_->has_length = true;
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
        head_->encoded = true;
        return;
      case beast::http::field::expect:
        head_->expects_continue = !head_->http10 && beast::iequals(text, "100-continue");
        return;
      default:
        if (is_cloud_event_field(view(name))) head_->cloud_event.push_back({view(name), value});
        return;
    }
  }

  void on_chunk_header_impl(std::uint64_t, Text, Error&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, Text body, Error&) override {
    data_ = view(body);
    return body.size();
  }

  void on_header_impl(Error&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, Error&) override {}
  std::size_t on_body_impl(Text body, Error&) override { return body.size(); }
  void on_finish_impl(Error&) override {}
  void on_response_impl(int, Text, int, Error&) override {}

  Head* head_ = nullptr;  // only while its head is parsed
  HeadFault fault_;
  std::string_view data_;
  int hosts_ = 0;
  bool has_type_ = false;
  bool in_body_ = false;
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
    if (feed + 1 == text.size()) return {State::partial, feed};  // what follows a line end says whether it is folded
    if (text[feed + 1] == ' ' || text[feed + 1] == '\t') return {State::bad, feed};
    at = feed + 1;
  }
}

HeadFault parse_head(std::string_view text, Head& head, std::unique_ptr<ChunkReader>& chunks) {
  Parser parser;
  const HeadFault fault = parser.parse(text, head);
  if (fault.status == 0 && head.chunked) chunks = std::make_unique<Parser>(std::move(parser));
  return fault;
}

std::string_view path_of(std::string_view target) noexcept {
  constexpr std::string_view scheme = "http://";
  if (target.size() > scheme.size() && beast::iequals({target.data(), scheme.size()}, {scheme.data(), scheme.size()})) {
    const std::size_t slash = target.find('/', scheme.size());
    target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
  }
  return target.substr(0, target.find('?'));
}

}  // namespace sluiced::http
