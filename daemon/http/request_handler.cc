// Which path is answered how, and what must be true of a request before its body is received. Thread: see the header.
#include "http/request_handler.h"

#include <algorithm>
#include <exception>
#include <memory>
#include <utility>

#include "http/cloud_events.h"
#include "http/connection.h"
#include "http/guard.h"
#include "http/io_thread.h"

namespace sluiced::http {
namespace {

constexpr std::string_view kEvents = "/v1/events";
// What each kind of path allows, as an answer says it.
constexpr std::string_view kPosted = "Allow: POST, OPTIONS\r\n";
constexpr std::string_view kRead = "Allow: GET, HEAD, OPTIONS\r\n";
// To a browser that asks for a page of an allowed origin, also where the page is public and this machine is not.
constexpr std::string_view kPreflight =
    "Allow: POST, OPTIONS\r\nAccess-Control-Allow-Methods: POST\r\nAccess-Control-Allow-Headers: *\r\n"
    "Access-Control-Allow-Private-Network: true\r\nAccess-Control-Max-Age: 600\r\n";
constexpr std::string_view kAny = "Allow: GET, HEAD, POST, OPTIONS\r\n";
constexpr std::string_view kCodings = "Accept-Encoding: gzip, deflate, zstd\r\n";
constexpr std::size_t kMaxSkipped = std::size_t{64} << 10U;  // of an unwanted body; for more, closing is cheaper
constexpr std::size_t kMaxContentType = 255;                 // what an event keeps of it

}  // namespace

std::size_t RequestHandler::run() {
  const std::string_view path = path_of(head_.target);
  if (path == kEvents || is_tidy(path)) return dispatch(path);
  return dispatch(tidied(path));
}

std::size_t RequestHandler::dispatch(std::string_view path) {
  const Config& config = connection_.thread().shared().config;
  ResponseWriter& responses = connection_.responses();
  if (!head_.origin.empty() && config.submit) responses.set_origin(place_of(head_.origin, config.allowed_origins));
  if (const std::string_view why = why_forbidden(head_, config); !why.empty()) return problem({403, why});
  if (connection_.one_too_many() && !config.pages.contains(path)) {
    connection_.refuse_one_too_many();
    return rest_.size();
  }
  if (head_.expects_else) return problem({417, "nothing but 100-continue can be expected here"});
  if (path == kEvents && config.submit) {
    if (head_.method == "POST") return receive_events();
    if (head_.method == "OPTIONS") return allowed(head_.preflight && responses.origin() != 0 ? kPreflight : kPosted);
    return problem({405, "events are posted", 0, kPosted});
  }
  if (head_.target == "*" && head_.method == "OPTIONS") return allowed(kAny);
  if (const auto page = config.pages.find(path); page != config.pages.end()) {
    if (head_.method == "OPTIONS") return allowed(kRead);
    if (head_.method != "GET" && !is_head_) return problem({405, "this is for reading", 0, kRead});
    return show(page->second);
  }
  if (const auto action = config.actions.find(path); action != config.actions.end()) {
    if (head_.method == "OPTIONS") return allowed(kPosted);
    if (head_.method != "POST") return problem({405, "this is for posting", 0, kPosted});
    if (connection_.tcp()) return problem({403, "actions are served on a unix socket alone"});
    if (!head_.for_admin) return problem({403, "actions want the field Sluice-Admin: 1"});
    return show([&] { return action->second(head_.target); });
  }
  return problem({404, "there is nothing here"});
}

// ---- answers that need no body

// A short body that is not wanted is skipped; behind a long one, or one that may never come, the connection is closed.
template <typename Write>
std::size_t RequestHandler::answer(Write write) {
  Ending ending{head_.keep_alive};
  if (head_.chunked || head_.content_length > kMaxSkipped || head_.expects_continue ||
      connection_.thread().draining() || connection_.one_too_many())
    ending.keep_alive = false;
  write(ending);
  if (!connection_.open()) return rest_.size();
  const std::size_t used = std::min<std::size_t>(rest_.size(), head_.content_length);
  connection_.reader().skip(head_.content_length - used);
  return used;
}

template <typename Make>
std::size_t RequestHandler::show(const Make& make) {
  return answer([&](Ending ending) {
    Page page;
    try {
      page = make();
    } catch (const std::exception&) {
      return connection_.responses().problem({500, "this page could not be made", 0, {}, !is_head_}, ending);
    }
    connection_.responses().page(page, ending, !is_head_);
  });
}

std::size_t RequestHandler::problem(Problem problem) {
  problem.with_body = !is_head_;
  return answer([&](Ending ending) { connection_.responses().problem(problem, ending); });
}

std::size_t RequestHandler::allowed(std::string_view fields) {
  return answer([&](Ending ending) { connection_.responses().allowed(fields, ending); });
}

std::size_t RequestHandler::refuse(int status, std::string_view detail) {
  connection_.refuse({status, detail});
  return rest_.size();
}

// ---- events

std::size_t RequestHandler::receive_events() {
  Content content = content_of(head_.content_type, !head_.cloud_event.empty());
  if (content == Content::json && head_.target.size() != kEvents.size()) {
    const auto asked = json_by_query(head_.target);
    if (!asked) return problem({400, "array is either event or batch"});
    content = *asked;
  }
  const std::size_t limit = connection_.thread().intake().body_limit(content);
  if (head_.coding == Coding::unknown)
    return problem(
        {.status = 415, .detail = "the Content-Encoding is none of those taken, or one too many", .fields = kCodings});
  if (!head_.chunked && !head_.has_length && content != Content::cloud_binary)  // which may do without data
    return refuse(411, "a Content-Length is wanted, or chunks");
  const bool encoded = head_.coding != Coding::identity && (head_.chunked || head_.content_length != 0);
  if (head_.content_length > (encoded ? encoded_limit(limit) : limit)) return refuse(413, kTooLarge);
  if (head_.content_type.size() > kMaxContentType) return refuse(413, "the Content-Type is longer than 255 bytes");

  ChargedBytes attributes(connection_.budget());
  if (content == Content::cloud_binary) {
    if (const CloudFault fault = put_attributes(head_.cloud_event, head_.content_type, attributes))
      return problem({fault.status, fault.detail});
  }
  const Ending ending{head_.keep_alive};
  if (!head_.chunked && !encoded && rest_.size() >= head_.content_length) {  // whole: taken from where it was read to
    submit(connection_, {content, head_.content_type, attributes, rest_.substr(0, head_.content_length), ending});
    return head_.content_length;
  }
  return begin_body({.content = content,
                     .content_type = head_.content_type,
                     .ending = ending,
                     .limit = limit,
                     .length = head_.content_length,
                     .chunked = head_.chunked,
                     .coding = encoded ? head_.coding : Coding::identity},
                    std::move(attributes));
}

std::size_t RequestHandler::begin_body(const BodyReader::Head& expected, ChargedBytes attributes) {
  auto made = std::make_unique<BodyReader>(connection_, expected, std::move(attributes));
  BodyReader& body = *made;
  connection_.reader().begin_body(std::move(made));
  connection_.note_progress();
  connection_.thread().relieve(connection_);
  if (!body.try_charge()) return refuse(429, kNoRoom);
  if (head_.expects_continue && rest_.empty() && !connection_.responses().try_continue()) return refuse(429, kNoRoom);
  return 0;  // the reader goes on with the body
}

void submit(Connection& connection, const WholeRequest& request) {
  IoThread& thread = connection.thread();
  ResponseWriter& responses = connection.responses();
  Slots::Hold slot = thread.slots().try_hold();
  if (slot == nullptr) return responses.problem({429, "no room to take this now"}, request.ending);
  const auto refusal =
      thread.intake().take(request.content, request.content_type, request.attributes, request.body, *slot);
  if (!refusal) return responses.push(std::move(slot), request.ending);
  responses.problem({refusal->status, refusal->detail, refusal->line, {}, true, refusal->index, refusal->by_tracker},
                    request.ending);
}

}  // namespace sluiced::http
