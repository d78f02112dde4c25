// The load: as many requests as a server on the loopback answers, or so many a second. One thread.
//
//   bench_load PROTOCOL PORT [connections=32] [depth=1] [events=1] [bytes=200] [seconds=1] [rate=0]
//
// A closed loop: each connection sends a burst of `depth` requests in one write, waits for all their answers, and
// begins again; where the protocol has no answers, it sends what the socket takes. `events`: in each request (1: JSON,
// more: NDJSON), of so many bytes. With a `rate` (requests a second, depth 1) each request has an instant at which it
// is due, whether the server keeps up or not, and its latency counts from there: what waits for a free connection waits
// on the server's account.
//
// Prints as JSON, of the time after a short warm-up: rate (events a second), refused (requests answered no), and with a
// rate p50, p99 and p99.9 in microseconds; and answered: events, with those of the warm-up.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

#include "bench/arguments.h"
#include "bench/protocol.h"
#include "support/fd.h"

namespace {

using Clock = std::chrono::steady_clock;
using test::Fd;
using test::must;

constexpr auto kWarmUp = std::chrono::milliseconds{200};
constexpr auto kPatience = std::chrono::seconds{20};  // without any answer

struct Connection {
  Fd fd;
  std::size_t sent = 0;   // bytes of the burst
  std::size_t owed = 0;   // answers of the burst
  std::string held;       // an answer that is not all there
  Clock::time_point due;  // when its request should have been sent; only with a rate
};

class Load {
 public:
  Load(std::uint16_t port, std::size_t connections, std::size_t depth, bench::Protocol& protocol)
      : depth_(depth), protocol_(protocol), connections_(connections) {
    for (std::size_t i = 0; i < depth; ++i) burst_ += protocol.request;
    for (Connection& connection : connections_) open(connection, port);
  }

  // As much as is answered, until then.
  void run_until(Clock::time_point end) {
    auto answered_at = Clock::now();
    for (auto now = answered_at; now < end; now = Clock::now()) {
      const std::size_t before = answered_;
      for (Connection* connection : wait(100)) turn(*connection);
      if (answered_ > before) answered_at = now;
      if (now - answered_at > kPatience) throw std::runtime_error("the server answers no more");
    }
  }

  // A request at each of the instants begin, begin + every, … before the end; all are waited for. Spins: a timer would
  // be late.
  void run_at(Clock::duration every, Clock::time_point end) {
    std::deque<Connection*> idle;
    for (Connection& connection : connections_) {
      if (connection.owed == 0) idle.push_back(&connection);
    }
    auto due = Clock::now();
    const auto give_up = end + kPatience;
    while (due < end || idle.size() < connections_.size()) {
      const auto now = Clock::now();
      if (now > give_up) throw std::runtime_error("the server does not keep up");
      while (due <= now && due < end && !idle.empty()) {
        idle.front()->due = due;
        begin_burst(*idle.front());
        idle.pop_front();
        due += every;
      }
      for (Connection* connection : wait(0)) {
        if (connection->owed == 0) continue;
        send_rest(*connection);
        receive(*connection);
        if (connection->owed > 0) continue;
        latencies_.push_back(Clock::now() - connection->due);
        idle.push_back(connection);
      }
    }
  }

  // The end of a closed loop: nothing half sent, no answer owed, so that what was answered is what the server has.
  void settle() {
    const auto give_up = Clock::now() + kPatience;
    const auto busy = [this](const Connection& c) { return c.owed > 0 || c.sent < burst_.size(); };
    while (std::any_of(connections_.begin(), connections_.end(), busy)) {
      if (Clock::now() > give_up) throw std::runtime_error("the server takes or answers no more");
      for (Connection* connection : wait(100)) {
        if (!busy(*connection)) continue;
        send_rest(*connection);
        if (protocol_.has_answers) {
          receive(*connection);
        } else if (connection->sent == burst_.size()) {
          answered_ += depth_;
        }
      }
    }
  }

  [[nodiscard]] std::size_t answered() const noexcept { return answered_; }
  [[nodiscard]] std::size_t refused() const noexcept { return refused_; }
  [[nodiscard]] std::vector<Clock::duration> take_latencies() { return std::exchange(latencies_, {}); }

 private:
  void open(Connection& connection, std::uint16_t port) {
    Fd fd(must(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    must(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), "connect");
    const int on = 1;
    must(::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
    const std::string& greeting = protocol_.greeting;
    if (!greeting.empty())
      must(static_cast<int>(::send(fd.get(), greeting.data(), greeting.size(), MSG_NOSIGNAL)), "send");
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLET;  // told once, of both: nothing to arm again
    event.data.ptr = &connection;
    must(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd.get(), &event), "epoll_ctl");
    connection.fd = std::move(fd);
    connection.sent = burst_.size();
  }

  const std::vector<Connection*>& wait(int milliseconds) {
    const int n =
        must(::epoll_wait(epoll_.get(), events_.data(), static_cast<int>(events_.size()), milliseconds), "epoll_wait");
    ready_.clear();
    for (int i = 0; i < n; ++i)
      ready_.push_back(static_cast<Connection*>(events_[static_cast<std::size_t>(i)].data.ptr));
    return ready_;
  }

  void turn(Connection& connection) {
    if (!protocol_.has_answers) {
      flood(connection);
      return;
    }
    if (connection.owed > 0) {
      send_rest(connection);
      receive(connection);
      if (connection.owed > 0) return;
    }
    begin_burst(connection);
  }

  void begin_burst(Connection& connection) {
    connection.sent = 0;
    connection.owed = depth_;
    send_rest(connection);
  }

  // A few bursts at most, so that the others have their turn and the clock is looked at; epoll must tell it again.
  void flood(Connection& connection) {
    for (int i = 0; i < 16; ++i) {
      if (connection.sent == burst_.size()) connection.sent = 0;
      send_rest(connection);
      if (connection.sent < burst_.size()) return;
      answered_ += depth_;
    }
    epoll_event event{};
    event.events = EPOLLOUT | EPOLLET;
    event.data.ptr = &connection;
    must(::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection.fd.get(), &event), "epoll_ctl");
  }

  void send_rest(Connection& connection) {
    while (connection.sent < burst_.size()) {
      const ssize_t size = ::send(connection.fd.get(), burst_.data() + connection.sent, burst_.size() - connection.sent,
                                  MSG_DONTWAIT | MSG_NOSIGNAL);
      if (size < 0 && errno == EAGAIN) return;
      if (size < 0) throw std::system_error(errno, std::generic_category(), "send");
      connection.sent += static_cast<std::size_t>(size);
    }
  }

  // What is there now: epoll says so when more comes.
  void receive(Connection& connection) {
    for (bool more = true; more;) {
      const std::size_t held = connection.held.copy(buffer_.data(), buffer_.size());
      const ssize_t size = ::recv(connection.fd.get(), buffer_.data() + held, buffer_.size() - held, MSG_DONTWAIT);
      if (size < 0 && errno == EAGAIN) return;
      if (size < 0) throw std::system_error(errno, std::generic_category(), "recv");
      if (size == 0) throw std::runtime_error("the server has closed a connection");
      more = static_cast<std::size_t>(size) == buffer_.size() - held;
      std::string_view text(buffer_.data(), held + static_cast<std::size_t>(size));
      while (!text.empty()) {
        const bench::Answer answer = protocol_.next(text);
        if (answer.size == 0) break;
        text.remove_prefix(answer.size);
        if (!answer.yes) ++refused_;
        if (!answer.counts) continue;
        if (connection.owed == 0) throw std::runtime_error("more answers than requests");
        --connection.owed;
        if (answer.yes) ++answered_;
      }
      connection.held = text;
    }
  }

  const std::size_t depth_;
  bench::Protocol& protocol_;
  std::string burst_;
  const Fd epoll_{must(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")};
  std::vector<Connection> connections_;
  std::array<epoll_event, 256> events_{};
  std::vector<Connection*> ready_;
  std::vector<char> buffer_ = std::vector<char>(std::size_t{64} << 10U);
  std::size_t answered_ = 0;  // yes
  std::size_t refused_ = 0;
  std::vector<Clock::duration> latencies_;
};

// In microseconds: so much of them is not above it.
double quantile(std::vector<Clock::duration>& of, double share) {
  if (of.empty()) throw std::runtime_error("no request was answered");
  const auto at = of.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(of.size() - 1));
  std::nth_element(of.begin(), at, of.end());
  return std::chrono::duration<double, std::micro>(*at).count();
}

void run(bench::Arguments& arguments) {
  const std::string& speaks = arguments.word(0);
  const auto port = static_cast<std::uint16_t>(std::stoul(arguments.word(1)));
  const std::size_t connections = arguments.count("connections", 32);
  const std::size_t depth = arguments.count("depth", 1);
  const std::size_t events = arguments.count("events", 1);
  const std::size_t bytes = arguments.count("bytes", bench::kEvent.size());
  const std::chrono::duration<double> seconds(arguments.number("seconds", 1));
  const double rate = arguments.number("rate", 0);
  arguments.no_more();

  const std::unique_ptr<bench::Protocol> protocol = bench::protocol_of(speaks, events, bytes);
  Load load(port, connections, depth, *protocol);
  const auto run_for = [&](std::chrono::duration<double> time) {
    const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(time);
    if (rate > 0) {
      load.run_at(std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(1 / rate)), end);
    } else {
      load.run_until(end);
    }
  };
  run_for(kWarmUp);
  const std::size_t warm = load.answered();
  const std::size_t refused = load.refused();
  std::ignore = load.take_latencies();
  const auto begin = Clock::now();
  run_for(seconds);
  const std::chrono::duration<double> elapsed = Clock::now() - begin;
  const std::size_t answered = load.answered();
  const std::size_t refused_then = load.refused();
  if (rate == 0) load.settle();
  std::printf(R"({"rate":%.0f,"refused":%zu,"answered":%zu)",
              static_cast<double>((answered - warm) * events) / elapsed.count(), refused_then - refused,
              load.answered() * events);
  if (rate > 0) {
    std::vector<Clock::duration> latencies = load.take_latencies();
    std::printf(R"(,"p50":%.1f,"p99":%.1f,"p999":%.1f)", quantile(latencies, 0.5), quantile(latencies, 0.99),
                quantile(latencies, 0.999));
  }
  std::printf("}\n");
}

}  // namespace

int main(int argc, char** argv) { return bench::run_main(argc, argv, run); }
