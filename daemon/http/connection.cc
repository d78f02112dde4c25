// The life of one client, in the order in which it happens: a turn reads, takes requests, answers, writes, ends. Its
// loop's thread alone. What is refused, and with which answer, is decided where the bytes are taken.
#include "http/connection.h"

#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "http/cloud_events.h"
#include "http/loop.h"

namespace sluiced::http {
namespace {

using std::chrono::milliseconds;

constexpr std::string_view kEvents = "/v1/events";
constexpr std::size_t kUnsentLimit = std::size_t{16} << 10U;   // answers, above which a client is not read
constexpr std::uint32_t kMostPending = 128;                    // answers with the committer, likewise: 33 KiB to come
constexpr std::size_t kBodyProgress = std::size_t{16} << 10U;  // what a time-out must bring
constexpr std::size_t kFirstRoom = std::size_t{64} << 10U;     // for a body of known length, at once; then by doubling
constexpr std::size_t kMostSkipped = std::size_t{64} << 10U;   // of an unwanted body; for more, closing is cheaper
constexpr std::size_t kMostContentType = 255;                  // what an event keeps of it
constexpr std::size_t kRequestCharge = 512;                    // a Request and its content type
constexpr milliseconds kLinger{1000};
constexpr milliseconds kLingerDraining{500};

bool try_later(int error) noexcept { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

}  // namespace

Connection::Connection(Loop& loop, int socket, bool tcp) noexcept
    : loop_(loop),
      socket_(socket),
      held_(loop.shared().budget),
      unsent_(loop.shared().budget),
      pending_(*this),
      tcp_(tcp) {}

Connection::~Connection() {
  if (state_ != State::closed) ::close(socket_);
  loop_.shared().connections -= 1;
}

void Connection::begin() {
  interest_ = EPOLLIN;
  if (!loop_.ready_set().try_watch(socket_, this, interest_)) close();
  settle();
}

void Connection::turn_away() {
  problem({.status = 503, .detail = "too many connections", .counted = true}, {false, false});
  begin();
}

void Connection::drain() {
  if (state_ == State::lingering) start_settling();
  if (open() && !half_read() && held_.empty() && unsent_.empty()) {
    // Idle, it seems; but what the client has sent by now is answered: consume() refuses it.
    const ssize_t size = ::recv(socket_, loop_.scratch(), Loop::kScratch, MSG_DONTWAIT);
    const std::string_view input(loop_.scratch(), static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    keep(input.substr(consume(input)));
  }
  settle();
}

void Connection::end_reading() {
  if (open() && half_read()) refuse(503, "the server is stopping, and the request was not complete");
  settle();
}

void Connection::give_up() {
  if (!unsent_.empty() || !pending_.empty() || settling_) close();
  settle();
}

void Connection::tick(Clock::time_point now) {
  if (pending_.told() != nullptr) write_told();  // a turn for it was cut short
  check_settled();
  if (now >= deadline_) {
    switch (waiting_) {
      case Waiting::head:
      case Waiting::body:
        refuse(408, "the request came too slowly");
        break;
      case Waiting::unsent:  // a slow reader may leave us no room for long, and still read
        progress_ = on_the_way() < was_on_the_way_;
        if (!progress_) close();
        break;
      case Waiting::committer:  // its word will come, and no other is true
        break;
      case Waiting::idle:
      case Waiting::linger:
        close();
        break;
    }
  }
  settle();
}

// ---- a turn: what has arrived is taken, all answers go out in one write

void Connection::on_ready(std::uint32_t what) {
  if ((what & EPOLLOUT) != 0) write();
  if ((what & EPOLLIN) != 0) read();
  if ((what & (EPOLLIN | EPOLLOUT)) == 0) close();  // the other end is gone
  settle();
}

void Connection::on_told() {
  write_told();
  go_on();
  settle();
}

void Connection::read() {
  if (state_ == State::lingering) return discard();
  if (state_ != State::open) return;
  if (request_ != nullptr && request_->chunks == nullptr) return fill_body();

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
  if (request_ != nullptr && request_->chunks == nullptr && fresh.size() == Loop::kScratch) fill_body();
}

void Connection::keep(std::string_view rest) {
  if (rest.empty() || !open()) return;
  if (!held_.try_append(rest)) refuse(429, "no room to receive this now");
}

// Whether more may be taken: what it is answered with has to be held until the client and the committer let it go.
bool Connection::has_room() const noexcept {
  return unsent_.size() + pending_.bytes() < kUnsentLimit && pending_.slots() < kMostPending;
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
      taken = request_->chunks != nullptr ? take_chunks(rest) : take_body(rest);
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
  const FoundHead found = find_head(input, searched_);
  if (found.state == FoundHead::State::bad) {
    refuse(400, "not HTTP/1.1: a line end or the first byte is wrong, or a field is folded");
    return input.size();
  }
  if (found.size > kMaxHead) {
    const bool in_target = input.substr(0, kMaxHead).find('\n') == std::string_view::npos;
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

  Head head;
  std::unique_ptr<ChunkReader> chunks;
  if (const HeadFault fault = parse_head(input.substr(0, found.size), head, chunks); fault.status != 0) {
    refuse(fault.status, fault.detail);
    return input.size();
  }
  return found.size + dispatch(head, std::move(chunks), input.substr(found.size));
}

// ---- a request whose head is read

std::size_t Connection::dispatch(const Head& head, std::unique_ptr<ChunkReader> chunks, std::string_view rest) {
  const std::string_view path = path_of(head.target);
  const bool is_head = head.method == "HEAD";
  const auto problem_at_once = [&](Problem what) {
    what.with_body = !is_head;
    return answer_at_once(head, rest, [&](Ending ending) { problem(what, ending); });
  };

  if (path == kEvents && loop_.shared().config.submit) {
    if (head.method != "POST") return problem_at_once({405, "events are posted", 0, "POST"});
    return receive_events(head, std::move(chunks), rest);
  }
  const auto show = [&](const auto& make) {
    return answer_at_once(head, rest, [&](Ending ending) {
      Page shown;
      try {
        shown = make();
      } catch (const std::exception&) {
        return problem({500, "this page could not be made", 0, {}, !is_head}, ending);
      }
      put(shown.status, ending, [&](std::string& out) { write_page(out, loop_.date(), ending, shown, !is_head); });
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

// Answers without looking at the body: a short one is read over, behind others the connection is closed.
template <typename Write>
std::size_t Connection::answer_at_once(const Head& head, std::string_view rest, Write write) {
  const bool arrives = !head.expects_continue || rest.size() >= head.content_length;
  Ending ending{head.http10, head.keep_alive};
  if (head.chunked || head.content_length > kMostSkipped || !arrives || loop_.draining()) ending.keep_alive = false;
  write(ending);
  if (!open()) return rest.size();
  const std::size_t used = std::min<std::size_t>(rest.size(), head.content_length);
  skip_ = head.content_length - used;
  return used;
}

std::size_t Connection::receive_events(const Head& head, std::unique_ptr<ChunkReader> chunks, std::string_view rest) {
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
  request_->chunks = std::move(chunks);
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

// Room for `size` bytes of body in all; in steps, each charged before it is made. False: refused.
bool Connection::make_room(std::size_t size) {
  ChargedBytes& body = request_->body;
  if (size <= body.capacity()) return true;
  const std::size_t most = request_->chunks != nullptr ? request_->limit : request_->expected;
  const std::size_t step = body.capacity() != 0          ? 2 * body.capacity()
                           : request_->chunks == nullptr ? kFirstRoom
                                                         : std::size_t{4} << 10U;
  if (body.try_reserve(std::min(most, std::max(size, step)))) return true;
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
  std::size_t used = 0;
  for (;;) {
    const ChunkStep step = request_->chunks->step(input.substr(used));
    used += step.used;
    if (step.state == ChunkStep::State::bad) {
      refuse(400, "the chunks are malformed");
      return input.size();
    }
    const std::size_t size = request_->body.size() + step.data.size();
    if (size > request_->limit) {
      refuse(413, "the body is larger than this server takes");
      return input.size();
    }
    if (!step.data.empty() && (!make_room(size) || !request_->body.try_append(step.data))) return input.size();
    if (step.state == ChunkStep::State::done) {
      finish_request();
      return used;
    }
    if (step.state == ChunkStep::State::starved) break;
  }
  if (input.size() - used > kMaxHead) {
    refuse(431, "a chunk's extensions or the trailers are longer than 16 KiB");
    return input.size();
  }
  return used;
}

void Connection::finish_request() {
  const std::unique_ptr<Request> whole = std::move(request_);
  submit(whole->content, whole->content_type, whole->attributes, whole->body.view(), whole->ending);
}

// ---- answers

// A whole request goes to the tracker: answered at once if its end is known at once, or queued with the committer.
void Connection::submit(Content content, std::string_view content_type, ChargedBytes& attributes, std::string_view body,
                        Ending ending) {
  Slots::Hold slot = loop_.slots().try_hold();
  if (slot == nullptr) return problem({429, "no room to take this now"}, ending);
  if (const auto refusal = loop_.intake().take(content, content_type, attributes, body, *slot))
    return problem({refusal->status, refusal->detail, refusal->line, {}, true, refusal->index, refusal->by_tracker},
                   ending);
  if (loop_.draining()) ending.keep_alive = false;
  if (slot->told && pending_.empty()) return write_outcome(*slot, ending);
  slot->ending = ending;
  if (!ending.keep_alive) state_ = State::closing;
  pending_.push(std::move(slot));
}

// What the committer has answered goes on its way, and what was to wait behind it.
void Connection::write_told() {
  while (Slot* const slot = pending_.told()) {
    Ending ending = slot->ending;
    const bool last = pending_.slots() == 1 && slot->text.empty() && !half_read() && held_.empty();
    if (last && loop_.draining()) ending.keep_alive = false;  // what comes behind it now is refused
    write_outcome(*slot, ending);
    loop_.out() += slot->text.view();
    loop_.answers_in_out += slot->answers;
    pending_.pop();
    if (loop_.out().size() >= kUnsentLimit) flush();
  }
}

void Connection::write_outcome(const Slot& slot, Ending ending) {
  if (slot.outcome.answer == sluice::Admit::accepted) {
    write_accepted(loop_.out(), loop_.date(), ending, slot.events, slot.outcome.first, slot.outcome.last);
    return answered(202, ending);
  }
  constexpr std::string_view detail = "the disk failed under this request: it was taken whole or not at all";
  write_problem(loop_.out(), loop_.date(), ending, {500, detail});
  answered(500, ending);
}

void Connection::problem(const Problem& problem, Ending ending) {
  if (loop_.draining() || problem.status == 503) ending.keep_alive = false;
  if (const auto why = refused_by(problem.status); why && !problem.counted) loop_.count(*why);
  put(problem.status, ending, [&](std::string& out) { write_problem(out, loop_.date(), ending, problem); });
}

// An answer that is known at once: out with this turn's, or behind those that the committer owes.
template <typename Write>
void Connection::put(int status, Ending ending, Write write) {
  if (pending_.empty()) {
    write(loop_.out());
    return answered(status, ending);
  }
  std::string text;
  write(text);
  if (pending_.try_add(text, 1)) {
    loop_.count(status);
  } else {
    ending.keep_alive = false;  // no room for it: those before it still go out, then the connection ends
  }
  if (!ending.keep_alive) state_ = State::closing;
}

void Connection::refuse(int status, std::string_view detail) {
  drop_request();
  problem({status, detail}, {false, false});
}

void Connection::answered(int status, Ending ending) {
  loop_.count(status);
  ++loop_.answers_in_out;
  progress_ = true;
  if (!ending.keep_alive) state_ = State::closing;
}

void Connection::drop_request() {
  request_.reset();
  begun_ = false;
  searched_ = 0;
}

// ---- writing

// Hands this turn's answers to the kernel, or as much as it takes.
void Connection::flush() {
  std::string& out = loop_.out();
  if (out.empty()) return;
  std::size_t sent = 0;
  if (unsent_.empty() && state_ != State::closed) {
    const ssize_t size = ::send(socket_, out.data(), out.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (size < 0 && !try_later(errno)) close();
    sent = static_cast<std::size_t>(std::max<ssize_t>(size, 0));
  }
  if (sent < out.size() && state_ != State::closed) {
    unsent_answers_ += loop_.answers_in_out;
    // No room for its answers: a client that does not read is not worth more.
    if (!unsent_.try_append(std::string_view(out).substr(sent))) close();
  }
  out.clear();
  loop_.answers_in_out = 0;
}

void Connection::write() {
  if (unsent_.empty()) return;
  const ssize_t size = ::send(socket_, unsent_.view().data(), unsent_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (size < 0) {
    if (!try_later(errno)) close();
    return;
  }
  progress_ = true;
  unsent_.drop_front(static_cast<std::size_t>(size));
  if (unsent_.empty()) unsent_answers_ = 0;
  go_on();
}

// ---- the end

// Our end is closed for writing and theirs read until they close too: closing on unread bytes would make the kernel
// throw away the answers that are on their way.
void Connection::start_lingering() {
  state_ = State::lingering;
  drop_request();
  held_.release();
  ::shutdown(socket_, SHUT_WR);
  progress_ = true;
  if (ended_) return close();
  if (loop_.draining()) start_settling();
}

// The process may end soon, and with it this socket: the stop waits for the answers to arrive, as long as for requests
// to be read. Also of a connection that looks idle: its last answers may still be in the kernel, before a client that
// reads slowly. One without any is settled at once.
void Connection::start_settling() {
  settling_ = true;
  loop_.settling(true);
  deadline_ = std::max(coarse_now() + kLingerDraining, loop_.reading());
  discard();
}

void Connection::close() {
  if (state_ == State::closed) return;
  state_ = State::closed;
  ::close(socket_);
  drop_request();
  held_.release();
  unsent_.release();
  unsent_answers_ = 0;
  pending_.abandon();
  check_settled();
}

// Reads what nobody wants, so that it does not lie unread when the socket is closed.
void Connection::discard() {
  for (int rounds = 16; rounds > 0; --rounds) {  // a megabyte a turn: others want theirs
    const ssize_t size = ::recv(socket_, loop_.scratch(), Loop::kScratch, MSG_DONTWAIT);
    if (size == 0 || (size < 0 && !try_later(errno))) ended_ = true;
    if (size < static_cast<ssize_t>(Loop::kScratch)) break;
  }
  check_settled();
}

void Connection::check_settled() {
  if (!settling_) return;
  const bool waited = coarse_now() >= loop_.reading();
  if (!waited && state_ != State::closed && !ended_ && !delivered()) return;
  settling_ = false;
  loop_.settling(false);
}

// The client's kernel has all of it, and nothing of theirs lies unread here.
bool Connection::delivered() {
  int unread = 0;
  if (::ioctl(socket_, FIONREAD, &unread) != 0) return true;
  return unread == 0 && (!tcp_ || on_the_way() == 0);  // a unix socket's answers are there when written
}

// Bytes in the kernel that the client's has not confirmed.
int Connection::on_the_way() {
  int bytes = 0;
  return ::ioctl(socket_, SIOCOUTQ, &bytes) == 0 ? bytes : 0;
}

// ---- the end of every turn

void Connection::settle() {
  flush();
  const bool owes_nothing = unsent_.empty() && pending_.empty();
  if (state_ == State::closing && owes_nothing) start_lingering();
  if (open() && owes_nothing) {
    if (ended_) {
      close();
    } else if (loop_.draining() && !half_read()) {
      start_lingering();
    }
  }
  if (state_ == State::lingering && ended_) close();
  account();
  if (state_ == State::closed) return loop_.forget(*this);
  renew_deadline();
  const bool wanted = !ended_ && (state_ == State::lingering || (open() && has_room()));
  const std::uint32_t interest = (wanted ? EPOLLIN : 0U) | (unsent_.empty() ? 0U : EPOLLOUT);
  if (interest != interest_) {
    interest_ = interest;
    loop_.ready_set().change(socket_, this, interest);
  }
}

void Connection::account() {
  const Owed owed{.answers = unsent_answers_ + pending_.answers() + (half_read() ? 1U : 0U),
                  .with_committer = pending_.slots()};
  if (owed == owed_) return;
  loop_.owe(owed_, owed);
  owed_ = owed;
}

void Connection::renew_deadline() {
  if (request_ != nullptr && request_->body.size() - request_->mark >= kBodyProgress) {
    request_->mark = request_->body.size();
    progress_ = true;
  }
  const Waiting now_waiting = state_ == State::lingering ? Waiting::linger
                              : !unsent_.empty()         ? Waiting::unsent
                              : !pending_.empty()        ? Waiting::committer
                              : request_ != nullptr      ? Waiting::body
                              : begun_                   ? Waiting::head
                                                         : Waiting::idle;
  if (now_waiting == waiting_ && !progress_) return;
  waiting_ = now_waiting;
  progress_ = false;
  if (waiting_ == Waiting::unsent) was_on_the_way_ = on_the_way();
  const Config& config = loop_.shared().config;
  deadline_ =
      coarse_now() + (waiting_ != Waiting::linger ? std::chrono::duration_cast<Clock::duration>(config.request_timeout)
                      : loop_.draining()          ? Clock::duration(kLingerDraining)
                                                  : Clock::duration(kLinger));
  if (waiting_ == Waiting::linger && loop_.draining()) deadline_ = std::max(deadline_, loop_.reading());
}

}  // namespace sluiced::http
