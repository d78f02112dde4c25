// The life of one client: what its loop tells it, when its time is up, how it ends, and what it waits for at the end of
// each turn. Its loop's thread alone. How bytes become requests is in receiving.cc, how answers leave in answering.cc.
#include "http/connection.h"

#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "http/io_thread.h"

namespace sluiced::http {
namespace {

using std::chrono::milliseconds;

// What a time-out must bring: this, and an eighth of what there is, so that a large body does not hold its memory for
// long.
constexpr std::size_t kBodyProgress = std::size_t{16} << 10U;
constexpr std::size_t kBodyShare = 8;
constexpr int kRequestTimeouts = 12;      // within so many a body has to be whole, however it gets on
constexpr milliseconds kNoProgress{500};  // after which a request may lose its memory to others
constexpr milliseconds kLinger{1000};
constexpr milliseconds kLingerDraining{500};
constexpr milliseconds kOneTooMany{1000};  // for its only request
// How exact the order of a loop's connections by their last activity is. To move one at each request would touch its
// neighbours' memory each time.
constexpr milliseconds kMoved{100};
constexpr milliseconds kFirstWord{10};  // within which a client sends its first request after connecting

}  // namespace

Connection::Connection(IoThread& loop, const Accepted& accepted) noexcept
    : loop_(loop),
      socket_(accepted.fd),
      held_(loop.shared().budget),
      unsent_(loop.shared().budget),
      pending_(*this),
      accepted_at_(coarse_now()),
      moved_at_(accepted_at_),
      tcp_(accepted.tcp),
      peer_(accepted.peer) {}

Connection::~Connection() {
  loop_.events().forget(*this);
  if (state_ != State::closed) ::close(socket_);
  loop_.shared().connections -= 1;
  if (peer_) loop_.shared().peers.remove(*peer_);
}

void Connection::begin(bool one_too_many) {
  one_too_many_ = one_too_many;
  interest_ = EPOLLIN;
  if (!loop_.events().try_watch(socket_, *this, interest_)) close();
  settle();
}

bool Connection::try_let_go() {
  const bool idle = open() && waiting_ == Waiting::idle && !one_too_many_ && held_.empty() && unread() == 0;
  if (!idle) return false;
  close();
  settle();
  return true;
}

void Connection::drain() {
  if (state_ == State::lingering) start_settling();
  if (open() && !half_read() && held_.empty() && unsent_.empty()) {
    // Idle, it seems; but what the client has sent by now is answered: consume() refuses it.
    const ssize_t size = ::recv(socket_, loop_.scratch(), IoThread::kScratch, MSG_DONTWAIT);
    const std::string_view input(loop_.scratch(), static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    spoken_ = spoken_ || !input.empty();
    keep(input.substr(consume(input)));
  }
  if (open() && !half_read()) watch_settling();
  settle();
}

void Connection::end_reading() {
  if (open() && half_read()) refuse(503, "the server is stopping, and the request was not complete");
  drain();
}

void Connection::give_up() {
  if (!unsent_.empty() || !pending_.empty() || settling_) close();
  settle();
}

void Connection::tick(Clock::time_point now) {
  if (pending_.told() != nullptr) write_told();  // a turn for it was cut short
  check_settled();
  if (lost_) refuse_lost();
  if (request_ != nullptr && now >= request_->begun_at + kRequestTimeouts * loop_.shared().config.request_timeout)
    refuse(408, "the request took too long");
  if (one_too_many_ && open() && now >= accepted_at_ + kOneTooMany) refuse_one_too_many();
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
  if (lost_) refuse_lost();
  if ((what & EPOLLOUT) != 0) write();
  if (paused() && (what & EPOLLOUT) != 0) go_on_decoding();
  if ((what & EPOLLIN) != 0) read();
  if ((what & (EPOLLIN | EPOLLOUT)) == 0) close();  // the other end is gone
  settle();
}

void Connection::on_told() {
  write_told();
  go_on();
  settle();
}

// ---- memory for others

double Connection::burden(Clock::time_point now) const noexcept {
  if (request_ == nullptr || request_->whole || now < request_->marked_at + kNoProgress) return 0;
  if (paused() || unread() > 0) return 0;  // it is we who are slow
  const std::size_t bytes = request_->body.capacity() + request_->undecoded.capacity() + held_.capacity();
  return static_cast<double>(bytes) * std::chrono::duration<double>(now - request_->marked_at).count();
}

void Connection::lose_request() noexcept {
  drop_request();
  held_.release();
  lost_ = true;
}

void Connection::refuse_lost() {
  lost_ = false;
  if (open()) refuse(408, "the request came too slowly, and its memory was needed");
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
  deadline_ = std::max(coarse_now() + kLingerDraining, loop_.reading());
  watch_settling();
  discard();
}

// From here the stop waits until what this client was told is there, and what it has sent is read.
void Connection::watch_settling() {
  if (!settling_) {
    settling_ = true;
    loop_.settling(true);
  }
  check_settled();
}

// A client's first request is a moment behind its connection.
bool Connection::may_be_about_to_speak() const noexcept {
  return state_ == State::open && !spoken_ && coarse_now() < accepted_at_ + kFirstWord;
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
    const ssize_t size = ::recv(socket_, loop_.scratch(), IoThread::kScratch, MSG_DONTWAIT);
    if (size == 0 || (size < 0 && !try_later(errno))) ended_ = true;
    if (size < static_cast<ssize_t>(IoThread::kScratch)) break;
  }
  check_settled();
}

void Connection::check_settled() {
  if (!settling_) return;
  const bool waited = coarse_now() >= loop_.reading();
  if (!waited && state_ != State::closed && !ended_ && (!delivered() || may_be_about_to_speak())) return;
  settling_ = false;
  loop_.settling(false);
}

// The client's kernel has all of it, and nothing of theirs lies unread here. That we have ended counts as a byte on the
// way, and is not waited for: a client who has nothing to say to it confirms it 40 ms later.
bool Connection::delivered() {
  const int our_end = state_ == State::lingering ? 1 : 0;
  return unread() == 0 && (!tcp_ || on_the_way() <= our_end);  // a unix socket's answers are there when written
}

// Bytes in the kernel that we have not read.
std::size_t Connection::unread() const noexcept {
  int bytes = 0;
  return ::ioctl(socket_, FIONREAD, &bytes) == 0 ? static_cast<std::size_t>(bytes) : 0;
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
    } else if (loop_.quiet_over() && !half_read()) {
      start_lingering();
    }
  }
  if (state_ == State::lingering && ended_) close();
  account();
  if (state_ == State::closed) return loop_.forget(*this);
  renew_deadline();
  // Who waits for the next turn to decode wants to write: that is possible at once, but after others.
  const bool wanted = !ended_ && (state_ == State::lingering || (open() && has_room() && !paused()));
  const std::uint32_t interest = (wanted ? EPOLLIN : 0U) | (unsent_.empty() && !paused() ? 0U : EPOLLOUT);
  if (interest != interest_) {
    interest_ = interest;
    loop_.events().change(socket_, *this, interest);
  }
}

void Connection::account() {
  const Owed owed{.answers = unsent_answers_ + pending_.answers() + (half_read() ? 1U : 0U),
                  .with_committer = pending_.slots()};
  if (owed == owed_) return;
  loop_.change_owed(owed_, owed);
  owed_ = owed;
}

void Connection::renew_deadline() {
  if (request_ != nullptr &&
      request_->body.size() - request_->mark >= std::max(kBodyProgress, request_->mark / kBodyShare)) {
    request_->mark = request_->body.size();
    request_->marked_at = coarse_now();
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
  const std::chrono::nanoseconds limit = waiting_ == Waiting::idle     ? config.idle_timeout
                                         : waiting_ != Waiting::linger ? config.request_timeout
                                         : loop_.draining()            ? kLingerDraining
                                                                       : kLinger;
  const Clock::time_point now = coarse_now();
  deadline_ = now + std::chrono::duration_cast<Clock::duration>(limit);
  if (now >= moved_at_ + kMoved) {
    moved_at_ = now;
    loop_.move_back(*this);
  }
  if (waiting_ == Waiting::linger && loop_.draining()) deadline_ = std::max(deadline_, loop_.reading());
}

}  // namespace sluiced::http
