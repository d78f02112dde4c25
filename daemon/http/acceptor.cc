// accept4() in small batches, so that a flood of connections keeps no open one waiting. Thread: see the header.
#include "http/acceptor.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include "http/answers.h"
#include "http/io_thread.h"

namespace sluiced::http {
namespace {

constexpr int kAcceptsATurn = 64;
constexpr int kListenQueue = 4096;  // what it holds at most; a flood that goes on must not hold up the stop
// Connections beyond --max-connections: they may ask for a page, such as health, or linger after their 503.
constexpr std::size_t kTurnedAwayAtOnce = 64;

}  // namespace

Acceptor::Acceptor(IoThread& thread, Listener& listener, HandOver hand_over)
    : thread_(thread), listener_(listener), hand_over_(std::move(hand_over)) {
  if (!thread_.events().try_watch(listener_.fd(), *this, EPOLLIN))
    throw std::system_error(errno, std::generic_category(), "epoll");
}

Acceptor::~Acceptor() { thread_.events().forget(*this); }

void Acceptor::on_ready(std::uint32_t /*events*/) {
  if (!open_ || paused_ || accept_some(kAcceptsATurn)) return;
  paused_ = true;  // asking again at once would spin; the thread's sweep resumes it
  thread_.events().change(listener_.fd(), *this, 0);
  thread_.arm_sweep();
}

void Acceptor::accept_waiting() {
  if (open_) (void)accept_some(kListenQueue);
}

void Acceptor::resume() noexcept {
  if (!std::exchange(paused_, false)) return;
  thread_.events().change(listener_.fd(), *this, EPOLLIN);
}

void Acceptor::close() {
  if (!std::exchange(open_, false)) return;
  paused_ = false;
  listener_.close();
}

// False: this process or system has no descriptor or memory left for another socket.
bool Acceptor::accept_some(int at_most) {
  for (; at_most > 0; --at_most) {
    const int fd = listener_.accept(thread_.shared().config.max_descriptors);
    if (fd >= 0) {
      admit(fd);
      continue;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) return true;
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      log_failure(errno);
      return false;
    }
    // Any other error means that this one client is gone.
  }
  return true;
}

void Acceptor::admit(int fd) {
  Shared& shared = thread_.shared();
  Accepted newcomer{.fd = fd, .tcp = listener_.tcp()};
  if (shared.peers.counts()) newcomer.peer = peer_of(fd);
  if (newcomer.peer && !shared.peers.try_add(*newcomer.peer)) return turn_away(fd, kTooManyOfOne);
  const std::size_t open = shared.connections += 1;
  if (open <= shared.config.max_connections + kTurnedAwayAtOnce) return hand_over_(newcomer);
  shared.connections -= 1;
  if (newcomer.peer) shared.peers.remove(*newcomer.peer);
  turn_away(fd, kTooManyConnections);
}

// Closes without waiting until the answer is read: a client that has sent something may not get to read it.
void Acceptor::turn_away(int fd, std::string_view why) {
  std::string text;
  write_problem(text, thread_.common({.keep_alive = false}), {503, why});
  (void)::send(fd, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  ::close(fd);
  thread_.statistics().count_answer(503);
  thread_.statistics().count_refusal(Refused::connections);
}

void Acceptor::log_failure(int error) {
  const sluice::LogHook& log = thread_.shared().config.log;
  const std::uint64_t times = log ? thread_.accept_failures().tell() : 0;
  if (times == 0) return;
  log(sluice::LogLevel::warn, fmt::format("accept on {}: {}; connections wait times={}", listener_.name(),
                                          std::generic_category().message(error), times));
}

}  // namespace sluiced::http
