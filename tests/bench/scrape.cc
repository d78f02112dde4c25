// A monitoring system in a hurry: asks for /metrics so many times a second, on one connection, until it is ended. What
// that costs the intake is for others to measure (smoke).
//
//   bench_scrape PORT PER_SECOND
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string_view>
#include <thread>

#include "support/fd.h"

namespace {

using test::Fd;
using test::must;

// An answer that ends with its body's last line, as /metrics does: read until that line is there.
void scrape(const Fd& fd) {
  constexpr std::string_view request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
  constexpr std::string_view last = "\nsluice_drain_seconds_left ";
  must(static_cast<int>(::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL)), "send");
  std::string_view text;
  std::array<char, std::size_t{1} << 18U> answer;
  do {
    const ssize_t size = ::recv(fd.get(), answer.data() + text.size(), answer.size() - text.size(), 0);
    if (must(static_cast<int>(size), "recv") == 0) throw std::runtime_error("the server has closed the connection");
    text = {answer.data(), text.size() + static_cast<std::size_t>(size)};
  } while (text.find(last) == std::string_view::npos || !text.ends_with('\n'));
}

void run(std::uint16_t port, double per_second) {
  const Fd fd(must(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  must(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), "connect");
  using Clock = std::chrono::steady_clock;
  const auto period = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(1 / per_second));
  for (auto next = Clock::now();; next += period) {
    std::this_thread::sleep_until(next);
    scrape(fd);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: bench_scrape PORT PER_SECOND\n", stderr);
    return 64;
  }
  try {
    run(static_cast<std::uint16_t>(std::strtoul(argv[1], nullptr, 10)), std::strtod(argv[2], nullptr));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_scrape: %s\n", error.what());
    return 1;
  }
}
