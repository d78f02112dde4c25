// The life of one client: its turns, its deadlines, its end. Thread: see the header.
#include "http/connection.h"

#include <sys/epoll.h>

#include <algorithm>

#include "http/coarse_clock.h"
#include "http/io_thread.h"

namespace sluiced::http {
namespace {

using std::chrono::milliseconds;

constexpr int kRequestTimeouts = 12;      // within so many a body must be whole, whatever progress it makes
constexpr milliseconds kNoProgress{500};  // after which a request may lose its memory to others
constexpr milliseconds kLinger{1000};
constexpr milliseconds kLingerDraining{500};
constexpr milliseconds kOneTooMany{1000};  // for its only request
// How exact the order of a thread's connections by their last activity is. To move one at each request would touch its
// neighbours' memory each time.
constexpr milliseconds kMoved{100};
constexpr milliseconds kFirstWord{10};  // within which a client sends its first request after connecting

}  // namespace

Connection::Connection(IoThread& thread, const Accepted& accepted) noexcept
    : thread_(thread),
      socket_(accepted.fd, accepted.tcp),
      reader_(*this),
      responses_(thread, socket_, *this),
      peer_(accepted.peer),
      accepted_at_(coarse_now()),
      moved_at_(accepted_at_) {}

Connection::~Connection() {
  thread_.events().forget(*this);
  thread_.shared().connections -= 1;
  if (peer_) thread_.shared().peers.remove(*peer_);
}

Budget& Connection::budget() const noexcept { return thread_.shared().budget; }

bool Connection::open() const noexcept {
  return state_ == State::open && !responses_.closing() && !responses_.broken() && !reader_.broken();
}

// ---- turns

void Connection::begin(bool one_too_many) {
  one_too_many_ = one_too_many;
  interest_ = EPOLLIN;
  if (!thread_.events().try_watch(socket_.fd(), *this, interest_)) close();
  settle();
}

void Connection::on_ready(std::uint32_t events) {
  if (lost_) refuse_lost();
  if ((events & EPOLLOUT) != 0) write();
  if (reader_.paused() && (events & EPOLLOUT) != 0) reader_.go_on_decoding();
  if ((events & EPOLLIN) != 0) read();
  if ((events & (EPOLLIN | EPOLLOUT)) == 0) close();  // the other end is gone
  settle();
}

void Connection::on_completed() {
  responses_.write_completed(!reader_.half_read() && reader_.holds_nothing());
  reader_.go_on();
  settle();
}

void Connection::drain() {
  if (state_ == State::lingering) linger_until_settled();
  // It looks idle; but a request that the client has sent by now is answered: the reader refuses it.
  if (open() && !reader_.half_read() && reader_.holds_nothing() && !responses_.has_unsent()) reader_.read(socket_);
  if (open() && !reader_.half_read()) watch_settling();
  settle();
}

void Connection::end_reading() {
  if (open() && reader_.half_read()) refuse({503, "the server is stopping, and the request was not complete"});
  drain();
}

void Connection::give_up() {
  if (!responses_.owes_nothing() || settling_) close();
  settle();
}

void Connection::tick(Clock::time_point now) {
  // A turn for it was cut short.
  if (responses_.has_completed()) responses_.write_completed(!reader_.half_read() && reader_.holds_nothing());
  check_settled();
  if (lost_) refuse_lost();
  const BodyReader* const body = reader_.body();
  if (body != nullptr && now >= body->begun_at() + kRequestTimeouts * thread_.shared().config.request_timeout)
    refuse({408, "the request took too long"});
  if (one_too_many_ && open() && now >= accepted_at_ + kOneTooMany) refuse_one_too_many();
  if (now >= deadline_) {
    switch (waiting_) {
      case Waiting::head:
      case Waiting::body:
        refuse({408, "the request came too slowly"});
        break;
      case Waiting::unsent:  // a slow reader may leave us no room for long, and still read
        progress_ = socket_.unconfirmed() < was_unconfirmed_;
        if (!progress_) close();
        break;
      case Waiting::committer:  // it will answer, and no other answer is true
        break;
      case Waiting::idle:
      case Waiting::linger:
        close();
        break;
    }
  }
  settle();
}

bool Connection::try_let_go() {
  const bool idle =
      open() && waiting_ == Waiting::idle && !one_too_many_ && reader_.holds_nothing() && socket_.unread() == 0;
  if (!idle) return false;
  close();
  settle();
  return true;
}

void Connection::read() {
  if (state_ == State::lingering) {
    reader_.discard(socket_);
    return check_settled();
  }
  if (open()) reader_.read(socket_);
}

void Connection::write() {
  if (!responses_.write_unsent()) return;
  if (!responses_.has_unsent() && open() && thread_.draining()) watch_settling();
  reader_.go_on();
}

// ---- refusals

void Connection::refuse(const Problem& why) {
  reader_.drop_request();
  responses_.problem(why, {.keep_alive = false});
}

void Connection::refuse_one_too_many() {
  thread_.statistics().count_refusal(Refused::connections);
  refuse({.status = 503, .detail = kTooManyConnections, .counted = true});
}

// ---- memory for others

double Connection::burden(Clock::time_point now) const noexcept {
  const BodyReader* const body = reader_.body();
  if (body == nullptr || body->received_whole() || now < body->marked_at() + kNoProgress) return 0;
  if (reader_.paused() || socket_.unread() > 0) return 0;  // the delay is ours
  const std::size_t bytes = body->memory() + reader_.memory();
  return static_cast<double>(bytes) * std::chrono::duration<double>(now - body->marked_at()).count();
}

void Connection::lose_request() noexcept {
  reader_.release();
  lost_ = true;
}

void Connection::refuse_lost() {
  lost_ = false;
  if (open()) refuse({408, "the request came too slowly, and its memory was needed"});
}

// ---- the end

// Closes our end for writing and reads theirs until they close, too: closing on unread bytes would make the kernel
// throw away the answers that are on their way.
void Connection::start_lingering() {
  state_ = State::lingering;
  reader_.release();
  socket_.end_writing();
  progress_ = true;
  if (reader_.ended()) return close();
  if (thread_.draining()) linger_until_settled();
}

// The process may end soon, and with it this socket: the stop waits for the answers to arrive, as long as for requests
// to be read. Also of a connection that looks idle: its last answers may still be in the kernel, before a client that
// reads slowly. One without any is settled at once.
void Connection::linger_until_settled() {
  deadline_ = std::max(coarse_now() + kLingerDraining, thread_.reading());
  watch_settling();
  reader_.discard(socket_);
  check_settled();
}

// From here the stop waits until the client has received its answers, and its bytes are read.
void Connection::watch_settling() {
  if (!settling_) {
    settling_ = true;
    thread_.settling(true);
  }
  check_settled();
}

void Connection::check_settled() {
  if (!settling_) return;
  const bool waited = coarse_now() >= thread_.reading();
  if (!waited && state_ != State::closed && !reader_.ended() && (!delivered() || may_be_about_to_speak())) return;
  settling_ = false;
  thread_.settling(false);
}

// The client's kernel has all of it, and no byte of the client lies unread here. That we have ended counts as a byte on
// the way, and is not waited for: a client that does not react to it confirms it 40 ms later.
bool Connection::delivered() const noexcept {
  const std::size_t our_end = state_ == State::lingering ? 1 : 0;
  // A unix socket's answers have arrived when they are written.
  return socket_.unread() == 0 && (!socket_.tcp() || socket_.unconfirmed() <= our_end);
}

// A client's first request is a moment behind its connection.
bool Connection::may_be_about_to_speak() const noexcept {
  return state_ == State::open && !reader_.spoken() && coarse_now() < accepted_at_ + kFirstWord;
}

void Connection::close() {
  if (state_ == State::closed) return;
  state_ = State::closed;
  socket_.close();
  reader_.release();
  responses_.abandon();
  check_settled();
}

// ---- the end of every turn

// Sends this turn's answers, and decides what is waited for next.
void Connection::settle() {
  responses_.flush();
  if (responses_.broken() || reader_.broken()) close();
  const bool owes_nothing = responses_.owes_nothing();
  if (state_ == State::open && responses_.closing() && owes_nothing) start_lingering();
  if (open() && owes_nothing) {
    if (reader_.ended()) {
      close();
    } else if (thread_.quiet_over() && !reader_.half_read()) {
      start_lingering();
    }
  }
  if (state_ == State::lingering && reader_.ended()) close();
  account();
  if (state_ == State::closed) return thread_.forget(*this);
  renew_deadline();
  // One that is to decode more in the next turn waits for writing: that is possible at once, but after others.
  const bool wanted = !reader_.ended() && (state_ == State::lingering || (open() && has_room() && !reader_.paused()));
  const bool may_write = responses_.has_unsent() || reader_.paused();
  const std::uint32_t interest = (wanted ? EPOLLIN : 0U) | (may_write ? EPOLLOUT : 0U);
  if (interest == interest_) return;
  interest_ = interest;
  thread_.events().change(socket_.fd(), *this, interest);
}

void Connection::account() {
  Owed owed = responses_.owed();
  if (reader_.half_read()) ++owed.answers;
  if (owed == owed_) return;
  thread_.change_owed(owed_, owed);
  owed_ = owed;
}

// ---- time

Connection::Waiting Connection::waits_for() const noexcept {
  if (state_ == State::lingering) return Waiting::linger;
  if (responses_.has_unsent()) return Waiting::unsent;
  if (responses_.waits_for_committer()) return Waiting::committer;
  if (reader_.body() != nullptr) return Waiting::body;
  return reader_.head_begun() ? Waiting::head : Waiting::idle;
}

std::chrono::nanoseconds Connection::time_limit() const noexcept {
  const Config& config = thread_.shared().config;
  if (waiting_ == Waiting::idle) return config.idle_timeout;
  if (waiting_ != Waiting::linger) return config.request_timeout;
  return thread_.draining() ? kLingerDraining : kLinger;
}

void Connection::renew_deadline() {
  if (reader_.body() != nullptr && reader_.body()->try_mark()) progress_ = true;
  if (responses_.take_progress()) progress_ = true;
  const Waiting now_waiting = waits_for();
  if (now_waiting == waiting_ && !progress_) return;
  waiting_ = now_waiting;
  progress_ = false;
  if (waiting_ == Waiting::unsent) was_unconfirmed_ = socket_.unconfirmed();
  const Clock::time_point now = coarse_now();
  deadline_ = now + std::chrono::duration_cast<Clock::duration>(time_limit());
  if (now >= moved_at_ + kMoved) {
    moved_at_ = now;
    thread_.move_back(*this);
  }
  if (waiting_ == Waiting::linger && thread_.draining()) deadline_ = std::max(deadline_, thread_.reading());
}

}  // namespace sluiced::http
