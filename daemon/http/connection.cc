// The life of one client: what its loop tells it, when its time is up, how it ends, and what it waits for at the end of
// each turn. Its loop's thread alone. How bytes become requests is in receiving.cc, how answers leave in answering.cc.
#include "http/connection.h"

#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "http/loop.h"

namespace sluiced::http {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kBodyProgress = std::size_t{16} << 10U;  // what a time-out must bring
constexpr milliseconds kLinger{1000};
constexpr milliseconds kLingerDraining{500};

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
  problem({.status = 503, .detail = kTooManyConnections, .counted = true}, {false, false});
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

// The client's kernel has all of it, and nothing of theirs lies unread here. That we have ended counts as a byte on the
// way, and is not waited for: a client who has nothing to say to it confirms it 40 ms later.
bool Connection::delivered() {
  const int our_end = state_ == State::lingering ? 1 : 0;
  return unread() == 0 && (!tcp_ || on_the_way() <= our_end);  // a unix socket's answers are there when written
}

// Bytes in the kernel that we have not read.
std::size_t Connection::unread() {
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
