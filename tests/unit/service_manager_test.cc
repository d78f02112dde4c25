// What systemd is told, read from a socket in its place: more time while the start lasts, and how often it has failed.
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <future>
#include <optional>
#include <string>

#include "host/service_manager.h"

namespace {

using namespace std::chrono_literals;
using sluiced::host::pause_after;
using sluiced::host::ServiceManager;

// systemd's end of NOTIFY_SOCKET, for this process as long as it lives.
class Systemd {
 public:
  Systemd() {
    std::string folder = "/tmp/sluice-notify-test-XXXXXX";
    REQUIRE(::mkdtemp(folder.data()) != nullptr);
    folder_ = folder;
    const std::string path = folder_ / "notify";
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    path.copy(at.sun_path, sizeof at.sun_path - 1);
    socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    REQUIRE(::bind(socket_, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0);
    ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  }
  Systemd(const Systemd&) = delete;
  Systemd& operator=(const Systemd&) = delete;
  ~Systemd() {
    ::unsetenv("NOTIFY_SOCKET");
    ::close(socket_);
    std::filesystem::remove_all(folder_);
  }

  struct Message {
    std::string text;
    bool with_descriptor = false;

    [[nodiscard]] bool says(const std::string& line) const {
      return ("\n" + text + "\n").find("\n" + line + "\n") != std::string::npos;
    }
  };
  // Nothing: none has come within this time. Descriptors that come with it are closed, as systemd does with a
  // barrier's.
  [[nodiscard]] std::optional<Message> next(std::chrono::milliseconds patience = 5s) const {
    pollfd ready{socket_, POLLIN, 0};
    if (::poll(&ready, 1, static_cast<int>(patience.count())) != 1) return std::nullopt;
    std::array<char, 4096> text{};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    iovec piece{text.data(), text.size()};
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    const ssize_t size = ::recvmsg(socket_, &header, MSG_CMSG_CLOEXEC);
    if (size < 0) return std::nullopt;
    Message message{{text.data(), static_cast<std::size_t>(size)}};
    for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
      if (part->cmsg_type != SCM_RIGHTS) continue;
      int descriptor = -1;
      std::memcpy(&descriptor, CMSG_DATA(part), sizeof descriptor);
      ::close(descriptor);
      message.with_descriptor = true;
    }
    return message;
  }

 private:
  std::filesystem::path folder_;
  int socket_ = -1;
};

}  // namespace

TEST_CASE("service manager: the time-out of a start moves ahead again and again, and no more once it is ready") {
  const Systemd systemd;
  {
    ServiceManager manager(1ms);
    for (int i = 0; i < 3; ++i) {
      const auto message = systemd.next();
      REQUIRE(message);
      CHECK(message->text == "EXTEND_TIMEOUT_USEC=3000\n");
    }
    manager.ready("taking events");
    auto message = systemd.next();
    while (message && !message->says("READY=1")) message = systemd.next();
    REQUIRE(message);
    CHECK(message->says("STATUS=taking events"));
    CHECK_FALSE(systemd.next(20ms));
  }
}

TEST_CASE("service manager: the pauses between failed starts grow up to half a minute") {
  constexpr std::array wanted{0s, 1s, 2s, 4s, 8s, 16s, 30s, 30s};
  for (std::size_t failed = 0; failed < wanted.size(); ++failed) CHECK(pause_after(failed) == wanted[failed]);
  CHECK(pause_after(1'000'000) == 30s);
}

TEST_CASE("service manager: a start that failed is left with systemd as a descriptor") {
  const Systemd systemd;
  ServiceManager manager(1h);
  auto pause = std::async(std::launch::async, [&manager] { return manager.start_failed("the address is in use"); });
  const auto token = systemd.next();
  REQUIRE(token);
  CHECK(token->with_descriptor);
  CHECK(token->says("FDSTORE=1"));
  CHECK(token->says("FDNAME=failed-start"));
  const auto barrier = systemd.next();  // closed here, which says that all before it has been read
  REQUIRE(barrier);
  CHECK(barrier->says("BARRIER=1"));
  CHECK(pause.get() == 0s);  // the first is tried again at once
  manager.ready("taking events");
  const auto ready = systemd.next();
  REQUIRE(ready);
  CHECK(ready->says("FDSTOREREMOVE=1"));
  CHECK(ready->says("FDNAME=failed-start"));
}
