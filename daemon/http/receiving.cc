// A connection's bytes become requests: what has arrived is read, heads are taken apart, bodies gathered, and each
// whole request is answered at once or handed to the tracker. Its loop's thread alone. It refuses here, with the answer
// that says why, and closes wherever it is in doubt where the next request begins.
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <utility>

#include "http/cloud_events.h"
#include "http/connection.h"
#include "http/loop.h"

namespace sluiced::http {
namespace {

constexpr std::string_view kEvents = "/v1/events";
constexpr std::size_t kFirstRoom = std::size_t{4} << 10U;     // for a body, or more if more has come; then by doubling
constexpr std::size_t kMostSkipped = std::size_t{64} << 10U;  // of an unwanted body; for more, closing is cheaper
constexpr std::size_t kMostContentType = 255;                 // what an event keeps of it
constexpr std::size_t kRequestCharge = 512;                   // a Request and its content type

}  // namespace

void Connection::read() {
  if (state_ == State::lingering) return discard();
  if (state_ != State::open) return;
  if (request_ != nullptr && !request_->chunks) return fill_body();

  const ssize_t size = ::recv(socket_, loop_.scratch(), Loop::kScratch, MSG_DONTWAIT);
  if (size < 0 && !try_later(errno)) return close();
  if (size == 0) ended_ = true;
  if (size <= 0) return;
  const std::string_view fresh(loop_.scratch(), static_cast<std::size_t>(size));
  if (held_.empty()) {
    keep(fresh.substr(consume(fresh)));
  } else if (held_.try_append(fresh)) {
    held_.drop_front(consume(held_.view()));
  } else {
    refuse(429, "no room to receive this now");
  }
  // A body that has only begun: the kernel may hold more of it already.
  if (request_ != nullptr && !request_->chunks && fresh.size() == Loop::kScratch) fill_body();
}

void Connection::keep(std::string_view rest) {
  if (rest.empty() || !open()) return;
  if (!held_.try_append(rest)) refuse(429, "no room to receive this now");
}

// Takes what was held back for want of room.
void Connection::go_on() {
  if (open() && !held_.empty() && has_room()) held_.drop_front(consume(held_.view()));
}

std::size_t Connection::consume(std::string_view input) {
  std::size_t used = 0;
  while (open() && used < input.size() && has_room()) {
    const std::string_view rest = input.substr(used);
    std::size_t taken = 0;
    if (skip_ != 0) {
      taken = std::min(skip_, rest.size());
      skip_ -= taken;
    } else if (request_ == nullptr) {
      taken = take_head(rest);
    } else {
      taken = request_->chunks ? take_chunks(rest) : take_body(rest);
    }
    if (taken == 0) break;
    used += taken;
    if (loop_.out().size() >= kUnsentLimit) flush();
  }
  return used;
}

std::size_t Connection::take_head(std::string_view input) {
  if (!begun_ && input.front() == '\r') {  // empty lines before a request are nothing (RFC 9112, 2.2)
    if (input.size() == 1) return 0;
    if (input[1] == '\n') return 2;
  }
  if (!begun_ && loop_.draining()) {
    refuse(503, "the server is stopping");
    return input.size();
  }
  KnownHead& known = loop_.known_head();
  if (!begun_) {
    if (const std::size_t size = known.match(input); size != 0)
      return size + dispatch(known.head(), input.substr(size));
  }
  const std::string_view most = input.substr(0, kMaxHead);  // what is behind it cannot make it right, nor wrong
  const FoundHead found = find_head(most, searched_);
  if (found.state == FoundHead::State::bad) {
    refuse(400, "not HTTP/1.1: a line end or the first byte is wrong, or a field is folded");
    return input.size();
  }
  if (found.state == FoundHead::State::partial && most.size() < input.size()) {
    const bool in_target = most.find('\n') == std::string_view::npos;
    refuse(in_target ? 414 : 431, in_target ? "the target is longer than 8 KiB" : "the headers are longer than 16 KiB");
    return input.size();
  }
  if (found.state == FoundHead::State::partial) {
    begun_ = true;
    searched_ = found.size;
    return 0;
  }
  begun_ = false;
  searched_ = 0;

  const std::string_view text = input.substr(0, found.size);
  Head head;
  if (const HeadFault fault = parse_head(text, head); fault.status != 0) {
    refuse(fault.status, fault.detail, head.method != "HEAD");
    return input.size();
  }
  known.keep(text, head);
  return found.size + dispatch(head, input.substr(found.size));
}

// ---- a request whose head is read

std::size_t Connection::dispatch(const Head& head, std::string_view rest) {
  const std::string_view path = path_of(head.target);
  const bool is_head = head.method == "HEAD";
  const auto problem_at_once = [&](Problem what) {
    what.with_body = !is_head;
    return answer_at_once(head, rest, [&](Ending ending) { problem(what, ending); });
  };

  if (head.expects_else) return problem_at_once({417, "nothing but 100-continue can be expected here"});
  if (path == kEvents && loop_.shared().config.submit) {
    if (head.method != "POST") return problem_at_once({405, "events are posted", 0, "POST"});
    return receive_events(head, rest);
  }
  const auto show = [&](const auto& make) {
    return answer_at_once(head, rest, [&](Ending ending) {
      Page shown;
      try {
        shown = make();
      } catch (const std::exception&) {
        return problem({500, "this page could not be made", 0, {}, !is_head}, ending);
      }
      page(shown, ending, !is_head);
    });
  };
  const Config& config = loop_.shared().config;
  if (const auto page = config.pages.find(path); page != config.pages.end()) {
    if (head.method != "GET" && !is_head) return problem_at_once({405, "this is for reading", 0, "GET, HEAD"});
    return show(page->second);
  }
  if (const auto action = config.actions.find(path); action != config.actions.end()) {
    if (head.method != "POST") return problem_at_once({405, "this is for posting", 0, "POST"});
    return show([&] { return action->second(head.target); });
  }
  return problem_at_once({404, "there is nothing here"});
}

// Answers without looking at the body: a short one is read over, behind others, and those that may never come, the
// connection is closed.
template <typename Write>
std::size_t Connection::answer_at_once(const Head& head, std::string_view rest, Write write) {
  Ending ending{head.http10, head.keep_alive};
  if (head.chunked || head.content_length > kMostSkipped || head.expects_continue || loop_.draining())
    ending.keep_alive = false;
  write(ending);
  if (!open()) return rest.size();
  const std::size_t used = std::min<std::size_t>(rest.size(), head.content_length);
  skip_ = head.content_length - used;
  return used;
}

std::size_t Connection::receive_events(const Head& head, std::string_view rest) {
  const auto problem_at_once = [&](const Problem& what) {
    return answer_at_once(head, rest, [&](Ending ending) { problem(what, ending); });
  };
  const auto refuse_all = [&](int status, std::string_view detail) {
    refuse(status, detail);
    return rest.size();
  };

  Intake& intake = loop_.intake();
  const Content content = content_of(head.content_type, !head.cloud_event.empty());
  const std::size_t limit = intake.body_limit(content);
  if (head.encoded) return problem_at_once({415, "bodies are taken as they are, without a Content-Encoding"});
  if (!head.chunked && !head.has_length && content != Content::cloud_binary)  // which may do without data
    return refuse_all(411, "a Content-Length is wanted, or chunks");
  if (head.content_length > limit) return refuse_all(413, "the body is larger than this server takes");
  if (head.content_type.size() > kMostContentType) return refuse_all(413, "the Content-Type is longer than 255 bytes");

  ChargedBytes attributes(loop_.shared().budget);
  if (content == Content::cloud_binary) {
    if (const CloudFault fault = put_attributes(head.cloud_event, head.content_type, attributes))
      return problem_at_once({fault.status, fault.detail});
  }

  const Ending ending{head.http10, head.keep_alive};
  if (!head.chunked && rest.size() >= head.content_length) {  // all there: taken from where it was read to
    submit(content, head.content_type, attributes, rest.substr(0, head.content_length), ending);
    return head.content_length;
  }
  request_ = std::make_unique<Request>(loop_.shared().budget, content, head.content_type, std::move(attributes));
  request_->ending = ending;
  request_->limit = limit;
  request_->expected = head.content_length;
  if (head.chunked) request_->chunks.emplace();
  progress_ = true;
  if (!request_->own.try_add(kRequestCharge)) return refuse_all(429, "no room to receive this now");
  if (head.expects_continue && rest.empty()) {
    if (pending_.empty()) {
      loop_.out() += kContinue;
    } else if (!pending_.try_add(kContinue, 0)) {
      return refuse_all(429, "no room to receive this now");
    }
  }
  return 0;  // consume() goes on with the body
}

// ---- a body on its way

// Room for `size` bytes of body in all; in steps, each charged before it is made. What a client has announced is not
// what it will send, so it has no room for it before it has come. False: refused.
bool Connection::make_room(std::size_t size) {
  ChargedBytes& body = request_->body;
  if (size <= body.capacity()) return true;
  const std::size_t most = request_->chunks ? request_->limit : request_->expected;
  const std::size_t step = std::max({kFirstRoom, 2 * body.capacity(), size + unread()});
  // Near the end of the room the steps are small, but never a byte: each is a call and a copy of all that is there.
  if (body.try_reserve(std::min(most, step)) || body.try_reserve(std::min(most, size + kFirstRoom))) return true;
  refuse(429, "no room to receive this now");
  return false;
}

std::size_t Connection::take_body(std::string_view input) {
  const std::size_t size = std::min(input.size(), request_->expected - request_->body.size());
  if (!make_room(request_->body.size() + size)) return input.size();
  if (!request_->body.try_append(input.substr(0, size))) return input.size();  // cannot be: there is room
  if (request_->body.size() == request_->expected) finish_request();
  return size;
}

// The rest of a long body goes from the kernel to where it belongs, without a detour.
void Connection::fill_body() {
  while (open() && request_ != nullptr) {
    ChargedBytes& body = request_->body;
    if (body.room() == 0 && !make_room(body.size() + 1)) return;
    const std::size_t room = body.room();
    const ssize_t size = ::recv(socket_, body.space(), room, MSG_DONTWAIT);
    if (size < 0 && !try_later(errno)) return close();
    if (size == 0) ended_ = true;
    if (size <= 0) return;
    body.commit(static_cast<std::size_t>(size));
    if (body.size() == request_->expected) return finish_request();
    if (static_cast<std::size_t>(size) < room) return;  // that was all
  }
}

std::size_t Connection::take_chunks(std::string_view input) {
  const auto refuse_all = [&](int status, std::string_view detail) {
    refuse(status, detail);
    return input.size();
  };
  std::size_t used = 0;
  for (;;) {
    const ChunkStep step = request_->chunks->step(input.substr(used));
    used += step.used;
    switch (step.state) {
      case ChunkStep::State::bad:
        return refuse_all(400, "the chunks are malformed");
      case ChunkStep::State::too_long:
        return refuse_all(431, "a chunk's extensions or the trailers are longer than 16 KiB");
      case ChunkStep::State::starved:
        return used;
      case ChunkStep::State::done:
        finish_request();
        return used;
      case ChunkStep::State::going:
        break;
    }
    const std::size_t size = request_->body.size() + step.data.size();
    if (size > request_->limit) return refuse_all(413, "the body is larger than this server takes");
    if (!make_room(size) || !request_->body.try_append(step.data)) return input.size();
  }
}

void Connection::finish_request() {
  const std::unique_ptr<Request> whole = std::move(request_);
  submit(whole->content, whole->content_type, whole->attributes, whole->body.view(), whole->ending);
}

void Connection::drop_request() {
  request_.reset();
  begun_ = false;
  searched_ = 0;
}

}  // namespace sluiced::http
