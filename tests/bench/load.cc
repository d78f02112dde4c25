// The load: as many requests as a server on the loopback answers. One thread, a closed loop: each connection sends a
// burst of DEPTH requests in one write, waits for all their answers, and begins again. It touches of an answer only
// what it must to know where the next one begins; answers other than 202 are counted as refused.
//
//   bench_load http|raw PORT PID CONNECTIONS DEPTH EVENTS SECONDS
//
// EVENTS: in each request (1: JSON, more: NDJSON). `raw` expects 3 bytes an answer. PID: the server's process. Prints
// `EVENTS_PER_SECOND SERVER_CPU_SECONDS_PER_MILLION REFUSED`, of the time after a short warm-up.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "bench/request.h"
#include "support/fd.h"

namespace {

using Clock = std::chrono::steady_clock;
using test::Fd;
using test::must;

constexpr auto kWarmUp = std::chrono::milliseconds{200};
constexpr std::size_t kRawAnswer = 3;

struct Plan {
  bool raw;
  std::uint16_t port;
  pid_t server;
  std::size_t connections, depth, events;
  std::chrono::duration<double> time;
};

// How long the next answer is. All heads look alike: where the length stands in the first tells it for the others.
class Answers {
 public:
  explicit Answers(bool raw) noexcept : raw_(raw) {}

  // The size of the answer that `text` begins with; 0 if it is not all there.
  std::size_t size_of(std::string_view text) {
    if (raw_) return text.size() < kRawAnswer ? 0 : kRawAnswer;
    if (!like_the_last(text) && !learn(text)) return 0;
    std::size_t length = 0;
    for (std::size_t at = length_at_; text[at] != '\r'; ++at)
      length = 10 * length + static_cast<unsigned>(text[at] - '0');
    const std::size_t size = head_ + length;
    if (text.size() < size) return 0;
    if (!text.starts_with("HTTP/1.1 202")) ++refused_;
    return size;
  }
  [[nodiscard]] std::size_t refused() const noexcept { return refused_; }

 private:
  [[nodiscard]] bool like_the_last(std::string_view text) const noexcept {
    return head_ != 0 && text.size() >= head_ && std::memcmp(text.data() + head_ - 4, "\r\n\r\n", 4) == 0 &&
           std::memcmp(text.data() + length_at_ - kLength.size(), kLength.data(), kLength.size()) == 0;
  }
  bool learn(std::string_view text) {
    const std::size_t end = text.find("\r\n\r\n");
    if (end == std::string_view::npos) return false;
    const std::size_t at = text.substr(0, end).find(kLength);
    if (at == std::string_view::npos) throw std::runtime_error("an answer without a Content-Length");
    length_at_ = at + kLength.size();
    head_ = end + 4;
    return true;
  }

  static constexpr std::string_view kLength = "\r\nContent-Length: ";
  const bool raw_;
  std::size_t head_ = 0;
  std::size_t length_at_ = 0;
  std::size_t refused_ = 0;
};

struct Connection {
  Fd fd;
  std::size_t sent = 0;  // bytes of the burst
  std::size_t owed = 0;  // answers of the burst
  std::size_t held = 0;  // bytes of an answer that is not all there
  std::vector<char> buffer = std::vector<char>(std::size_t{32} << 10U);
};

class Load {
 public:
  explicit Load(const Plan& plan) : plan_(plan), answers_(plan.raw), connections_(plan.connections) {
    const std::string request = bench::request_of(plan.events);
    for (std::size_t i = 0; i < plan.depth; ++i) burst_ += request;
    for (std::size_t i = 0; i < connections_.size(); ++i) open(i);
  }

  // Sends and counts until the time is over.
  void run_until(Clock::time_point end) {
    std::array<epoll_event, 64> ready{};
    while (Clock::now() < end) {
      const int n = must(::epoll_wait(epoll_.get(), ready.data(), static_cast<int>(ready.size()), 100), "epoll_wait");
      for (int i = 0; i < n; ++i) turn(connections_[ready[static_cast<std::size_t>(i)].data.u64]);
    }
  }

  [[nodiscard]] std::size_t answered() const noexcept { return answered_; }
  [[nodiscard]] std::size_t refused() const noexcept { return answers_.refused(); }

 private:
  void open(std::size_t i) {
    Fd fd(must(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(plan_.port);
    must(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), "connect");
    const int on = 1;
    must(::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLET;  // told once, of both: nothing to arm again
    event.data.u64 = i;
    must(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd.get(), &event), "epoll_ctl");
    connections_[i].fd = std::move(fd);
    connections_[i].sent = burst_.size();
  }

  void turn(Connection& connection) {
    if (connection.owed > 0) {
      send_rest(connection);
      receive(connection);
      if (connection.owed > 0) return;
    }
    connection.sent = 0;
    connection.owed = plan_.depth;
    send_rest(connection);
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
    std::vector<char>& buffer = connection.buffer;
    for (bool more = true; more;) {
      const ssize_t size =
          ::recv(connection.fd.get(), buffer.data() + connection.held, buffer.size() - connection.held, MSG_DONTWAIT);
      if (size < 0 && errno == EAGAIN) return;
      if (size < 0) throw std::system_error(errno, std::generic_category(), "recv");
      if (size == 0) throw std::runtime_error("the server has closed a connection");
      more = static_cast<std::size_t>(size) == buffer.size() - connection.held;
      std::string_view text(buffer.data(), connection.held + static_cast<std::size_t>(size));
      for (std::size_t answer = 0; connection.owed > 0 && (answer = answers_.size_of(text)) > 0;) {
        text.remove_prefix(answer);
        --connection.owed;
        ++answered_;
      }
      std::memmove(buffer.data(), text.data(), text.size());
      connection.held = text.size();
    }
  }

  const Plan plan_;
  Answers answers_;
  std::string burst_;
  const Fd epoll_{must(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")};
  std::vector<Connection> connections_;
  std::size_t answered_ = 0;
};

// CPU time that the process has used, all its threads together.
double cpu_seconds(pid_t process) {
  clockid_t clock{};
  timespec used{};
  if (::clock_getcpuclockid(process, &clock) != 0 || ::clock_gettime(clock, &used) != 0)
    throw std::runtime_error("the server's CPU time: no such process");
  return static_cast<double>(used.tv_sec) + 1e-9 * static_cast<double>(used.tv_nsec);
}

void run(const Plan& plan) {
  Load load(plan);
  load.run_until(Clock::now() + kWarmUp);
  const std::size_t answered = load.answered();
  const std::size_t refused = load.refused();
  const double cpu = cpu_seconds(plan.server);
  const auto begin = Clock::now();
  load.run_until(begin + std::chrono::duration_cast<Clock::duration>(plan.time));
  const std::chrono::duration<double> elapsed = Clock::now() - begin;
  const auto events = static_cast<double>((load.answered() - answered) * plan.events);
  std::printf("%.0f %.3f %zu\n", events / elapsed.count(), 1e6 * (cpu_seconds(plan.server) - cpu) / events,
              load.refused() - refused);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8) {
    std::fputs("usage: bench_load http|raw PORT PID CONNECTIONS DEPTH EVENTS SECONDS\n", stderr);
    return 64;
  }
  const auto number = [argv](int i) { return std::strtoul(argv[i], nullptr, 10); };
  try {
    run({.raw = std::string_view(argv[1]) == "raw",
         .port = static_cast<std::uint16_t>(number(2)),
         .server = static_cast<pid_t>(number(3)),
         .connections = number(4),
         .depth = number(5),
         .events = number(6),
         .time = std::chrono::duration<double>(std::strtod(argv[7], nullptr))});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_load: %s\n", error.what());
    return 1;
  }
}
