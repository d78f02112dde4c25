// The loop over a connection's input: skipped bytes, heads, bodies. Thread: see the header.
#include "http/request_reader.h"

#include <algorithm>
#include <utility>

#include "http/connection.h"
#include "http/io_thread.h"
#include "http/request_handler.h"

namespace sluiced::http {

RequestReader::RequestReader(Connection& connection) noexcept : connection_(connection), held_(connection.budget()) {}

// ---- from the socket

void RequestReader::read(ClientSocket& socket) {
  if (body_ != nullptr && body_->is_plain()) return receive_body(socket);

  const Received received = socket.try_receive({connection_.thread().scratch(), IoThread::kScratch});
  note(received.state);
  if (received.state != Received::State::some) return;
  spoken_ = true;
  const std::string_view fresh(connection_.thread().scratch(), received.size);
  if (held_.empty()) {
    keep(fresh.substr(consume(fresh)));
  } else if (held_.try_append(fresh)) {
    held_.drop_front(consume(held_.view()));
  } else {
    connection_.refuse({429, kNoRoom});
  }
  // A body that has only begun: the kernel may hold more of it already.
  if (body_ != nullptr && body_->is_plain() && fresh.size() == IoThread::kScratch) receive_body(socket);
}

// The rest of a long body goes from the kernel to where it belongs, without a copy.
void RequestReader::receive_body(ClientSocket& socket) {
  if (!connection_.open()) return;
  note(body_->receive(socket));
  finish_body();
}

void RequestReader::discard(ClientSocket& socket) {
  for (int rounds = 16; rounds > 0; --rounds) {  // a megabyte a turn: others want theirs
    const Received received = socket.try_receive({connection_.thread().scratch(), IoThread::kScratch});
    if (received.state == Received::State::ended || received.state == Received::State::broken) ended_ = true;
    if (received.size < IoThread::kScratch) return;
  }
}

void RequestReader::note(Received::State state) noexcept {
  ended_ = ended_ || state == Received::State::ended;
  broken_ = broken_ || state == Received::State::broken;
}

void RequestReader::keep(std::string_view rest) {
  if (rest.empty() || !connection_.open()) return;
  if (!held_.try_append(rest)) connection_.refuse({429, kNoRoom});
}

void RequestReader::go_on() {
  if (connection_.open() && !held_.empty() && connection_.has_room()) held_.drop_front(consume(held_.view()));
}

// ---- from bytes to requests

bool RequestReader::may_take() const noexcept { return connection_.open() && connection_.has_room() && !paused(); }

// Returns how many bytes are used up.
std::size_t RequestReader::consume(std::string_view input) {
  std::size_t used = 0;
  while (used < input.size() && may_take()) {
    const std::string_view rest = input.substr(used);
    std::size_t taken = 0;
    if (skip_ != 0) {
      taken = std::min(skip_, rest.size());
      skip_ -= taken;
    } else if (body_ == nullptr) {
      taken = take_head(rest);
    } else {
      taken = take_body(rest);
    }
    if (taken == 0) break;
    used += taken;
    connection_.responses().flush_if_long();
  }
  return used;
}

// As consume(); 0: the head is not whole yet.
std::size_t RequestReader::take_head(std::string_view input) {
  const auto refuse = [&](const Problem& why) {
    connection_.refuse(why);
    return input.size();
  };
  if (!head_begun_ && input.front() == '\r') {  // empty lines before a request are nothing (RFC 9112, 2.2)
    if (input.size() == 1) return 0;
    if (input[1] == '\n') return 2;
  }
  IoThread& thread = connection_.thread();
  if (!head_begun_ && thread.draining()) return refuse({503, "the server is stopping"});
  connection_.responses().set_origin(0);  // no page's, until the head says so
  KnownHead& known = thread.known_head();
  if (!head_begun_) {
    if (const std::size_t size = known.match(input); size != 0)
      return size + RequestHandler(connection_, known.head(), input.substr(size)).run();
  }
  const std::string_view most = input.substr(0, kMaxHead);  // bytes behind it cannot make it right, nor wrong
  const FoundHead found = find_head(most, searched_);
  if (found.state == FoundHead::State::bad)
    return refuse({400, "not HTTP/1.1: a line end or the first byte is wrong, or a field is folded"});
  if (found.state == FoundHead::State::partial && most.size() < input.size()) {
    const bool in_target = most.find('\n') == std::string_view::npos;
    return refuse(in_target ? Problem{414, "the target is longer than 8 KiB"}
                            : Problem{431, "the headers are longer than 16 KiB"});
  }
  if (found.state == FoundHead::State::partial) {
    head_begun_ = true;
    searched_ = found.size;
    return 0;
  }
  head_begun_ = false;
  searched_ = 0;

  const std::string_view text = input.substr(0, found.size);
  Head head;
  if (const HeadFault fault = parse_head(text, head); fault.status != 0)
    return refuse({.status = fault.status, .detail = fault.detail, .with_body = head.method != "HEAD"});
  known.keep(text, head);
  return found.size + RequestHandler(connection_, head, input.substr(found.size)).run();
}

std::size_t RequestReader::take_body(std::string_view input) {
  const std::size_t used = body_->take(input);
  finish_body();
  return used;
}

void RequestReader::go_on_decoding() {
  body_->resume();
  finish_body();
  go_on();
}

// Acts on what the body has become.
void RequestReader::finish_body() {
  switch (body_->state()) {
    case BodyReader::State::partial:
    case BodyReader::State::paused:
      return;
    case BodyReader::State::whole: {
      const std::unique_ptr<BodyReader> whole = std::exchange(body_, nullptr);
      return submit(connection_, {.content = whole->content(),
                                  .content_type = whole->content_type(),
                                  .attributes = whole->attributes(),
                                  .body = whole->body(),
                                  .ending = whole->ending()});
    }
    case BodyReader::State::refused: {
      const BodyReader::Refusal why = body_->refusal();
      if (why.closes) return connection_.refuse({why.status, why.detail});
      const Ending ending = body_->ending();
      drop_request();
      return connection_.responses().problem({why.status, why.detail}, ending);
    }
  }
}

void RequestReader::drop_request() noexcept {
  body_.reset();
  head_begun_ = false;
  searched_ = 0;
}

void RequestReader::release() noexcept {
  drop_request();
  held_.release();
}

}  // namespace sluiced::http
