// Puts the room together: listeners, loops and their threads; and leads the stop. No Asio here but through Loop.
#include "http/server.h"

#include <fmt/format.h>
#include <pthread.h>

#include <atomic>
#include <deque>
#include <thread>

#include "http/listener.h"
#include "http/loop.h"
#include "http/shared.h"
#include "sluice/error.h"

namespace sluiced::http {

struct Server::Impl {
  explicit Impl(Config config)
      : shared(std::move(config)), listeners(listen_on(shared.config.listen, shared.config.log)) {
    for (const Listener& listener : listeners) addresses.push_back(listener.name());
    for (std::size_t i = 0; i < std::max<std::size_t>(shared.config.threads, 1); ++i) loops.emplace_back(shared);
    want_a_descriptor();
    for (Listener& listener : listeners) {
      loops.front().accept_on(listener, [this](const Accepted& accepted) { hand_over(accepted); });
    }
    try {
      // Who accepts comes last: if a thread is not to be had, nothing was taken yet.
      for (std::size_t i = loops.size(); i-- > 0;) threads.emplace_back([this, i] { serve(i); });
    } catch (...) {
      stop();
      throw;
    }
  }
  ~Impl() { stop(); }

  // Whoever waits for a connection that can never be accepted waits for ever.
  void want_a_descriptor() const {
    if (listeners.empty() || listeners.front().leaves_room(shared.config.max_descriptors)) return;
    throw sluice::StartError(
        sluice::StartError::Kind::unusable,
        fmt::format("listen on {}: too few files may be open to leave one for a connection", addresses.front()));
  }

  void stop() {
    for (Loop& loop : loops) loop.stop();
    threads.clear();  // joins
  }

  void serve(std::size_t i) {
    const std::string name = fmt::format("{}-{}", shared.config.thread_name, i).substr(0, 15);
    pthread_setname_np(pthread_self(), name.c_str());
    loops[i].run();
  }

  // On the first loop's thread: sockets go round.
  void hand_over(const Accepted& accepted) {
    Loop& loop = loops[next];
    next = (next + 1) % loops.size();
    if (&loop == &loops.front()) return loop.adopt(accepted);
    loop.post([&loop, accepted] { loop.adopt(accepted); });
  }

  // To each loop by way of the first, behind whatever it has handed over.
  void tell_all(std::function<void(Loop&)> what) {
    loops.front().post([this, what = std::move(what)] {
      for (Loop& loop : loops) loop.post([&loop, what] { what(loop); });
    });
  }

  // Dies from below: threads first, then what they use.
  Shared shared;
  std::vector<Listener> listeners;
  std::vector<std::string> addresses;
  std::deque<Loop> loops;
  std::size_t next = 0;  // the first loop's thread alone
  std::atomic<bool> draining{false};
  std::vector<std::jthread> threads;
};

Server::Server(Config config) : impl_(std::make_unique<Impl>(std::move(config))) {}

Server::~Server() = default;

const std::vector<std::string>& Server::addresses() const noexcept { return impl_->addresses; }

void Server::drain(Clock::time_point reading, std::function<void()> drained) {
  if (impl_->draining.exchange(true)) return;
  {
    const std::lock_guard lock(impl_->shared.mutex);
    impl_->shared.on_drained = std::move(drained);
  }
  impl_->loops.front().post([impl = impl_.get(), reading] {
    Loop& first = impl->loops.front();
    first.accept_waiting();
    first.begin_drain(reading);
    for (Loop& loop : impl->loops) {
      if (&loop != &first) loop.post([&loop, reading] { loop.begin_drain(reading); });
    }
  });
}

void Server::close_quiet() {
  {
    const std::lock_guard lock(impl_->shared.mutex);
    impl_->shared.busy_loops += impl_->loops.size();  // until each has done so
  }
  impl_->tell_all([](Loop& loop) { loop.close_quiet(); });
}

bool Server::wait_drained(Clock::time_point deadline) {
  Shared& shared = impl_->shared;
  std::unique_lock lock(shared.mutex);
  return shared.changed.wait_until(lock, deadline, [&] { return shared.busy_loops == 0; });
}

void Server::give_up() {
  impl_->tell_all([](Loop& loop) { loop.give_up(); });
}

std::string_view to_string(Refused why) noexcept {
  switch (why) {
    case Refused::malformed:
      return "malformed";
    case Refused::unsupported:
      return "unsupported";
    case Refused::too_large:
      return "too_large";
    case Refused::timeout:
      return "timeout";
    case Refused::full:
      return "full";
    case Refused::closed:
      return "closed";
    case Refused::forbidden:
      return "forbidden";
    case Refused::connections:
      return "connections";
  }
  return "?";
}

Counters Server::counters() const {
  Counters counters;
  counters.connections = impl_->shared.connections;
  for (const Loop& loop : impl_->loops) {
    counters.answers_owed += loop.owed();
    counters.with_committer += loop.with_committer();
    counters.wake_ups += loop.wake_ups();
    loop.add_answered(counters.answered);
    loop.add_refused(counters.refused);
  }
  return counters;
}

}  // namespace sluiced::http
