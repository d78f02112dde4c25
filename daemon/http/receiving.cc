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
constexpr std::size_t kFirstRoom = std::size_t{4} << 10U;     // for a body, or more if more has come; then by doubling
constexpr std::size_t kMostSkipped = std::size_t{64} << 10U;  // of an unwanted body; for more, closing is cheaper
constexpr std::size_t kMostContentType = 255;                 // what an event keeps of it
constexpr std::size_t kRequestCharge = 768;                   // a Request, its content type and its decoder
constexpr std::size_t kDecoded = std::size_t{256} << 10U;     // in one turn: a fraction of a millisecond, as a rule

constexpr std::string_view kTooLarge = "the body is larger than this server takes";
constexpr std::string_view kNoRoom = "no room to receive this now";
constexpr std::string_view kCodings = "Accept-Encoding: gzip, deflate, zstd\r\n";

// How long a body in a coding may be: one that gains nothing gets a little longer.
std::size_t encoded_limit(std::size_t limit) noexcept { return limit + limit / 64 + 1024; }

}  // namespace

void Connection::read() {
  if (state_ == State::lingering) return discard();
  if (state_ != State::open) return;
  if (request_ != nullptr && !request_->chunks && !request_->decoder) return fill_body();

  const ssize_t size = ::recv(socket_, loop_.scratch(), IoThread::kScratch, MSG_DONTWAIT);
  if (size < 0 && !try_later(errno)) return close();
  if (size == 0) ended_ = true;
  if (size <= 0) return;
  spoken_ = true;
  const std::string_view fresh(loop_.scratch(), static_cast<std::size_t>(size));
  if (held_.empty()) {
    keep(fresh.substr(consume(fresh)));
  } else if (held_.try_append(fresh)) {
    held_.drop_front(consume(held_.view()));
  } else {
    refuse(429, kNoRoom);
  }
  // A body that has only begun: the kernel may hold more of it already.
  const bool direct = request_ != nullptr && !request_->chunks && !request_->decoder;
  if (direct && fresh.size() == IoThread::kScratch) fill_body();
}

void Connection::keep(std::string_view rest) {
  if (rest.empty() || !open()) return;
  if (!held_.try_append(rest)) refuse(429, kNoRoom);
}

// Takes what was held back for want of room.
void Connection::go_on() {
  if (open() && !held_.empty() && has_room()) held_.drop_front(consume(held_.view()));
}

std::size_t Connection::consume(std::string_view input) {
  std::size_t used = 0;
  while (open() && used < input.size() && has_room() && !paused()) {
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
  origin_ = 0;  // nobody's page, until the head says so
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
  if (path == kEvents || is_tidy(path)) return dispatch_to(path, head, rest);
  return dispatch_to(tidied(path), head, rest);
}

std::size_t Connection::dispatch_to(std::string_view path, const Head& head, std::string_view rest) {
  const bool is_head = head.method == "HEAD";
  const auto problem_at_once = [&](Problem what) {
    what.with_body = !is_head;
    return answer_at_once(head, rest, [&](Ending ending) { problem(what, ending); });
  };

  const auto allow = [&](std::string_view fields) {
    return answer_at_once(head, rest, [&](Ending ending) { allowed(fields, ending); });
  };

  const Config& config = loop_.shared().config;
  if (!head.origin.empty() && config.submit) origin_ = place_of(head.origin, config.allowed_origins);
  if (const std::string_view why = why_forbidden(head, config); !why.empty()) return problem_at_once({403, why});
  if (one_too_many_ && !config.pages.contains(path)) {
    refuse_one_too_many();
    return rest.size();
  }
  if (head.expects_else) return problem_at_once({417, "nothing but 100-continue can be expected here"});
  if (path == kEvents && config.submit) {
    if (head.method == "POST") return receive_events(head, rest);
    if (head.method == "OPTIONS") return allow(head.preflight && origin_ != 0 ? kPreflight : kPosted);
    return problem_at_once({405, "events are posted", 0, kPosted});
  }
  if (head.target == "*" && head.method == "OPTIONS") return allow(kAny);
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
  if (const auto page = config.pages.find(path); page != config.pages.end()) {
    if (head.method == "OPTIONS") return allow(kRead);
    if (head.method != "GET" && !is_head) return problem_at_once({405, "this is for reading", 0, kRead});
    return show(page->second);
  }
  if (const auto action = config.actions.find(path); action != config.actions.end()) {
    if (head.method == "OPTIONS") return allow(kPosted);
    if (head.method != "POST") return problem_at_once({405, "this is for posting", 0, kPosted});
    if (tcp_) return problem_at_once({403, "actions are served on a unix socket alone"});
    if (!head.for_admin) return problem_at_once({403, "actions want the field Sluice-Admin: 1"});
    return show([&] { return action->second(head.target); });
  }
  return problem_at_once({404, "there is nothing here"});
}

// Answers without looking at the body: a short one is read over, behind others, and those that may never come, the
// connection is closed.
template <typename Write>
std::size_t Connection::answer_at_once(const Head& head, std::string_view rest, Write write) {
  Ending ending{head.keep_alive};
  if (head.chunked || head.content_length > kMostSkipped || head.expects_continue || loop_.draining() || one_too_many_)
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
  Content content = content_of(head.content_type, !head.cloud_event.empty());
  if (content == Content::json && head.target.size() != kEvents.size()) {
    const auto asked = json_by_query(head.target);
    if (!asked) return problem_at_once({400, "array is either event or batch"});
    content = *asked;
  }
  const std::size_t limit = intake.body_limit(content);
  if (head.coding == Coding::unknown)
    return problem_at_once(
        {.status = 415, .detail = "the Content-Encoding is none of those taken, or one too many", .fields = kCodings});
  if (!head.chunked && !head.has_length && content != Content::cloud_binary)  // which may do without data
    return refuse_all(411, "a Content-Length is wanted, or chunks");
  const bool encoded = head.coding != Coding::identity && (head.chunked || head.content_length != 0);
  if (head.content_length > (encoded ? encoded_limit(limit) : limit)) return refuse_all(413, kTooLarge);
  if (head.content_type.size() > kMostContentType) return refuse_all(413, "the Content-Type is longer than 255 bytes");

  ChargedBytes attributes(loop_.shared().budget);
  if (content == Content::cloud_binary) {
    if (const CloudFault fault = put_attributes(head.cloud_event, head.content_type, attributes))
      return problem_at_once({fault.status, fault.detail});
  }

  const Ending ending{head.keep_alive};
  if (!head.chunked && !encoded && rest.size() >= head.content_length) {  // all there: taken from where it was read to
    submit(content, head.content_type, attributes, rest.substr(0, head.content_length), ending);
    return head.content_length;
  }
  request_ = std::make_unique<Request>(loop_.shared().budget, content, head.content_type, std::move(attributes));
  request_->ending = ending;
  request_->begun_at = request_->marked_at = coarse_now();
  request_->limit = limit;
  request_->expected = head.content_length;
  if (head.chunked) request_->chunks.emplace();
  if (encoded) request_->decoder = make_decoder(head.coding, loop_.shared().budget);
  progress_ = true;
  loop_.relieve(*this);
  if (!request_->own.try_add(kRequestCharge)) return refuse_all(429, kNoRoom);
  if (head.expects_continue && rest.empty()) {
    if (pending_.empty()) {
      loop_.out() += kContinue;
    } else if (!pending_.try_add(kContinue, 0)) {
      return refuse_all(429, kNoRoom);
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
  const std::size_t most = request_->decoder  ? request_->limit + 1  // which shows that it is too large
                           : request_->chunks ? request_->limit
                                              : request_->expected;
  loop_.relieve(*this);
  const std::size_t step = std::max({kFirstRoom, 2 * body.capacity(), size + unread()});
  // Near the end of the room the steps are small, but never a byte: each is a call and a copy of all that is there.
  const std::size_t least = std::min(most, size + kFirstRoom);
  if (body.try_reserve(std::min(most, step)) || body.try_reserve(least)) return true;
  // With what this client holds beside the body it may be more than there will ever be: then it need not come back.
  const std::size_t beside = kRequestCharge + request_->attributes.capacity() + request_->undecoded.capacity() +
                             held_.capacity() + unsent_.capacity() +
                             (request_->decoder ? request_->decoder->memory() : 0);
  refuse_body(least + beside > loop_.shared().budget.limit() ? DecodeStep::Fault::too_much
                                                             : DecodeStep::Fault::no_room);
  return false;
}

std::size_t Connection::take_body(std::string_view input) {
  if (request_->decoder) {
    const std::size_t piece = std::min(input.size(), request_->expected - request_->received);
    take_encoded(input.substr(0, piece), request_->received + piece == request_->expected);
    return piece;
  }
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
        if (request_->decoder) {
          take_encoded({}, true);
        } else {
          finish_request();
        }
        return used;
      case ChunkStep::State::going:
        break;
    }
    if (request_->decoder) {
      take_encoded(step.data, false);
      if (!open() || paused()) return used;
      continue;
    }
    const std::size_t size = request_->body.size() + step.data.size();
    if (size > request_->limit) return refuse_all(413, kTooLarge);
    if (!make_room(size) || !request_->body.try_append(step.data)) return input.size();
  }
}

// ---- a body in a coding

// The next piece; with the last one it is whole.
void Connection::take_encoded(std::string_view piece, bool whole) {
  Request& request = *request_;
  request.whole = whole;
  request.received += piece.size();
  if (request.received > encoded_limit(request.limit)) return refuse(413, kTooLarge);
  const std::size_t used = decode(piece);
  if (!paused()) return;
  if (!request.undecoded.try_append(piece.substr(used))) refuse(429, kNoRoom);
}

// Decodes a turn's worth at most, so that what is small outside and large inside keeps nobody else waiting; how much of
// the input was used. A request that is whole and decoded is finished, and one that cannot be is refused: then there is
// none any more.
std::size_t Connection::decode(std::string_view input) {
  ChargedBytes& body = request_->body;
  std::size_t used = 0;
  for (std::size_t left = kDecoded;;) {
    if (body.room() == 0 && !make_room(body.size() + 1)) return used;
    const std::size_t room = std::min(body.room(), left);
    const DecodeStep step = request_->decoder->step(input.substr(used), {body.space(), room});
    used += step.used;
    left -= step.written;
    body.commit(step.written);
    if (body.size() > request_->limit) {
      refuse_request(413, kTooLarge);
      return used;
    }
    if (step.fault != DecodeStep::Fault::none) {
      refuse_body(step.fault);
      return used;
    }
    if (step.written < room) break;  // it wants more input
    if (left == 0) {
      request_->paused = true;
      return used;
    }
  }
  if (!request_->whole) return used;
  if (request_->decoder->may_end()) {
    finish_request();
  } else {
    refuse_request(400, "the body ends before its Content-Encoding does");
  }
  return used;
}

// The next turn.
void Connection::go_on_decoding() {
  request_->paused = false;
  const std::size_t used = decode(request_->undecoded.view());
  if (request_ != nullptr) request_->undecoded.drop_front(used);
  go_on();
}

void Connection::refuse_body(DecodeStep::Fault fault) {
  switch (fault) {
    case DecodeStep::Fault::none:
      return;
    case DecodeStep::Fault::corrupt:
      return refuse_request(400, "the body is not what its Content-Encoding says, or damaged");
    case DecodeStep::Fault::window:
      return refuse_request(400, "the window of the zstd frame is larger than 8 MiB");
    case DecodeStep::Fault::no_room:
      return refuse_request(429, kNoRoom);
    case DecodeStep::Fault::too_much:
      return refuse_request(413, "to receive this takes more memory than this server has for requests");
  }
}

// Where the next request begins is known if this one has come whole; else the connection is closed.
void Connection::refuse_request(int status, std::string_view detail) {
  if (!request_->whole) return refuse(status, detail);
  const Ending ending = request_->ending;
  drop_request();
  problem({status, detail}, ending);
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
