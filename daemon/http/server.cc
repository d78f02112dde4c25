// Puts the room together: listeners and io threads; and leads the stop. Any thread.
#include "http/server.h"

#include <fmt/format.h>
#include <pthread.h>

#include <atomic>
#include <deque>
#include <thread>

#include "http/io_thread.h"
#include "http/listener.h"
#include "http/shared.h"
#include "sluice/error.h"

namespace sluiced::http {

struct Server::Impl {
  explicit Impl(Config config)
      : shared(std::move(config)), listeners(listen_on(shared.config.listen, shared.config.log)) {
    for (const Listener& listener : listeners) addresses.push_back(listener.name());
    for (std::size_t i = 0; i < std::max<std::size_t>(shared.config.threads, 1); ++i) io_threads.emplace_back(shared);
    want_a_descriptor();
    for (Listener& listener : listeners) {
      io_threads.front().accept_on(listener, [this](const Accepted& accepted) { hand_over(accepted); });
    }
    try {
      // The thread that accepts comes last: if one cannot be started, nothing was taken yet.
      for (std::size_t i = io_threads.size(); i-- > 0;) threads.emplace_back([this, i] { serve(i); });
    } catch (...) {
      stop();
      throw;
    }
  }
  ~Impl() { stop(); }

  // Refuses to listen where no connection can ever be accepted: clients would wait for ever.
  void want_a_descriptor() const {
    if (listeners.empty() || listeners.front().leaves_room(shared.config.max_descriptors)) return;
    throw sluice::StartError(
        sluice::StartError::Kind::unusable,
        fmt::format("listen on {}: too few files may be open to leave one for a connection", addresses.front()));
  }

  void stop() {
    for (IoThread& thread : io_threads) thread.stop();
    threads.clear();  // joins
  }

  void serve(std::size_t i) {
    const std::string name = fmt::format("{}-{}", shared.config.thread_name, i).substr(0, 15);
    pthread_setname_np(pthread_self(), name.c_str());
    io_threads[i].run();
  }

  // On the first io thread: sockets go round.
  void hand_over(const Accepted& accepted) {
    IoThread& thread = io_threads[next];
    next = (next + 1) % io_threads.size();
    if (&thread == &io_threads.front()) return thread.adopt(accepted);
    thread.post([&thread, accepted] { thread.adopt(accepted); });
  }

  // To each io thread, through the first, so behind the sockets that it has handed over.
  void post_to_all(std::function<void(IoThread&)> what) {
    io_threads.front().post([this, what = std::move(what)] {
      for (IoThread& thread : io_threads) thread.post([&thread, what] { what(thread); });
    });
  }

  // Destroyed from below: threads first, then what they use.
  Shared shared;
  std::vector<Listener> listeners;
  std::vector<std::string> addresses;
  std::deque<IoThread> io_threads;
  std::size_t next = 0;  // used by the first io thread alone
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
  impl_->io_threads.front().post([impl = impl_.get(), reading] {
    IoThread& first = impl->io_threads.front();
    first.accept_waiting();
    first.begin_drain(reading);
    for (IoThread& thread : impl->io_threads) {
      if (&thread != &first) thread.post([&thread, reading] { thread.begin_drain(reading); });
    }
  });
}

void Server::close_quiet() {
  {
    const std::lock_guard lock(impl_->shared.mutex);
    impl_->shared.busy_threads += impl_->io_threads.size();  // until each has done so
  }
  impl_->post_to_all([](IoThread& thread) { thread.close_quiet(); });
}

bool Server::wait_drained(Clock::time_point deadline) {
  Shared& shared = impl_->shared;
  std::unique_lock lock(shared.mutex);
  return shared.changed.wait_until(lock, deadline, [&] { return shared.busy_threads == 0; });
}

void Server::give_up() {
  impl_->post_to_all([](IoThread& thread) { thread.give_up(); });
}

Counters Server::counters() const {
  Counters counters;
  counters.connections = impl_->shared.connections;
  for (const IoThread& thread : impl_->io_threads) thread.statistics().add_to(counters);
  return counters;
}

}  // namespace sluiced::http
