// The limit: what a server could do at best. One thread, a raw epoll loop that receives, counts bytes, looks at none of
// them, and answers 3 of its own for each request's worth.
//
//   bench_limit EVENTS      prints its port on 127.0.0.1; for requests of so many events; serves until it is killed
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>
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

[[noreturn]] void serve(const Fd& listener, std::size_t request_size) {
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
      client.received += static_cast<std::size_t>(size);
      const std::size_t whole = client.received / request_size;
      client.received %= request_size;
      if (whole > 0) must(static_cast<int>(::send(fd, answers.data(), 3 * whole, MSG_NOSIGNAL)), "send");
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::size_t events = argc == 2 ? std::strtoul(argv[1], nullptr, 10) : 0;
    if (events == 0) {
      std::fputs("usage: bench_limit EVENTS\n", stderr);
      return 64;
    }
    serve(listen_somewhere(), bench::request_of(events).size());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_limit: %s\n", error.what());
    return 1;
  }
}
