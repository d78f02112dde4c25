// The limit: what a server could do at best. One thread, a raw epoll loop that receives, counts bytes, looks at none of
// them, and answers 3 of its own for each request's worth.
//
//   bench_limit EVENTS [write|sync FILE]   for requests of so many events; prints its port on 127.0.0.1, serves until
//   it
//                                          is killed
//
// With a file, what a wake-up has received is appended in one write before anything of it is answered, and with `sync`
// one fdatasync follows: a durable server can do no less.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "bench/request.h"
#include "support/fd.h"

namespace {

using test::Fd;
using test::must;

struct Client {
  Fd fd;
  std::size_t received = 0;  // of the request at hand
};

// A listening socket on any port of the loopback; says which.
Fd listen_somewhere() {
  Fd fd(must(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket"));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  must(::bind(fd.get(), any, size), "bind");
  must(::listen(fd.get(), SOMAXCONN), "listen");
  must(::getsockname(fd.get(), any, &size), "getsockname");
  std::printf("%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  return fd;
}

// Where received bytes go before they are answered; nowhere without a file.
class Log {
 public:
  Log() = default;
  Log(const char* path, bool sync)
      : fd_(must(::open(path, O_CREAT | O_TRUNC | O_WRONLY | O_APPEND | O_CLOEXEC, 0600), path)), sync_(sync) {}

  [[nodiscard]] bool is_on() const noexcept { return fd_.get() >= 0; }
  void add(const char* bytes, std::size_t size) { held_.insert(held_.end(), bytes, bytes + size); }
  void commit() {
    for (std::size_t at = 0; at < held_.size();)
      at += static_cast<std::size_t>(
          must(static_cast<int>(::write(fd_.get(), held_.data() + at, held_.size() - at)), "write"));
    if (sync_ && !held_.empty()) must(::fdatasync(fd_.get()), "fdatasync");
    held_.clear();
  }

 private:
  Fd fd_;
  bool sync_ = false;
  std::vector<char> held_;
};

struct Answer {
  int fd;
  std::size_t requests;
};

[[noreturn]] void serve(const Fd& listener, std::size_t request_size, Log log) {
  const Fd epoll(must(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1"));
  const auto watch = [&epoll](int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    must(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
  };
  watch(listener.get());

  std::unordered_map<int, Client> clients;
  std::vector<char> buffer(std::size_t{256} << 10U);
  const std::vector<char> answers(buffer.size(), '+');
  const auto answer = [&answers](const Answer& to) {
    must(static_cast<int>(::send(to.fd, answers.data(), 3 * to.requests, MSG_NOSIGNAL)), "send");
  };
  std::vector<Answer> owed;
  std::array<epoll_event, 64> events{};
  for (;;) {
    const int n = must(::epoll_wait(epoll.get(), events.data(), static_cast<int>(events.size()), -1), "epoll_wait");
    for (int i = 0; i < n; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == listener.get()) {
        const int client = must(::accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC), "accept4");
        const int on = 1;
        must(::setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
        clients[client].fd = Fd(client);
        watch(client);
        continue;
      }
      Client& client = clients[fd];
      const ssize_t size = ::recv(fd, buffer.data(), buffer.size(), 0);
      if (size <= 0) {
        clients.erase(fd);
        continue;
      }
      if (log.is_on()) log.add(buffer.data(), static_cast<std::size_t>(size));
      client.received += static_cast<std::size_t>(size);
      const std::size_t whole = client.received / request_size;
      client.received %= request_size;
      if (whole == 0) continue;
      if (log.is_on()) {
        owed.push_back({fd, whole});
      } else {
        answer({fd, whole});
      }
    }
    if (!log.is_on()) continue;
    log.commit();
    for (const Answer& to : owed) answer(to);
    owed.clear();
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::size_t events = argc == 2 || argc == 4 ? std::strtoul(argv[1], nullptr, 10) : 0;
    const std::string_view how = argc == 4 ? argv[2] : "";
    if (events == 0 || (argc == 4 && how != "write" && how != "sync")) {
      std::fputs("usage: bench_limit EVENTS [write|sync FILE]\n", stderr);
      return 64;
    }
    serve(listen_somewhere(), bench::request_of(events).size(), argc == 4 ? Log(argv[3], how == "sync") : Log());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_limit: %s\n", error.what());
    return 1;
  }
}
