// One question to the kernel, by the addresses of both ends: how many bytes that end has received, how many of these
// are still unread, and what it has to send. The first two are both needed: bytes on their way are not unread yet.
#include "support/peer.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <thread>

#include "support/fd.h"

namespace test {
namespace {

using Clock = std::chrono::steady_clock;

struct Received {
  std::uint64_t bytes = 0;
  std::uint64_t unread = 0;
  SendMemory to_send;
};

sockaddr_in name_of(int socket, int (*ask)(int, sockaddr*, socklen_t*)) {
  sockaddr_in name{};
  socklen_t size = sizeof name;
  must(ask(socket, reinterpret_cast<sockaddr*>(&name), &size), "the name of a socket");
  if (name.sin_family != AF_INET) throw std::runtime_error("not a socket of IPv4");
  return name;
}

// Nothing: there is no such socket any more.
std::optional<Received> received_by(const sockaddr_in& there, const sockaddr_in& here) {
  struct {
    nlmsghdr head;
    inet_diag_req_v2 body;
  } question{};
  question.head.nlmsg_len = sizeof question;
  question.head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  question.head.nlmsg_flags = NLM_F_REQUEST;
  question.body.sdiag_family = AF_INET;
  question.body.sdiag_protocol = IPPROTO_TCP;
  question.body.idiag_ext = 1U << (INET_DIAG_INFO - 1U) | 1U << (INET_DIAG_SKMEMINFO - 1U);
  question.body.idiag_states = ~0U;
  question.body.id.idiag_sport = there.sin_port;
  question.body.id.idiag_dport = here.sin_port;
  question.body.id.idiag_src[0] = there.sin_addr.s_addr;
  question.body.id.idiag_dst[0] = here.sin_addr.s_addr;
  question.body.id.idiag_cookie[0] = question.body.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;

  const Fd kernel(must(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG), "sock_diag"));
  must(static_cast<int>(::send(kernel.get(), &question, sizeof question, 0)), "sock_diag");
  alignas(nlmsghdr) std::array<char, 8192> answer;
  const int size = must(static_cast<int>(::recv(kernel.get(), answer.data(), answer.size(), 0)), "sock_diag");

  const auto* const head = reinterpret_cast<const nlmsghdr*>(answer.data());
  if (!NLMSG_OK(head, static_cast<unsigned>(size))) throw std::runtime_error("sock_diag: no answer");
  if (head->nlmsg_type == NLMSG_ERROR) {
    const int error = -static_cast<const nlmsgerr*>(NLMSG_DATA(head))->error;
    if (error == ENOENT) return std::nullopt;
    throw std::system_error(error, std::generic_category(), "sock_diag");
  }
  const auto* const body = static_cast<const inet_diag_msg*>(NLMSG_DATA(head));
  Received received{.bytes = 0, .unread = body->idiag_rqueue, .to_send = {}};
  auto left = static_cast<int>(head->nlmsg_len - NLMSG_LENGTH(sizeof *body));
  for (auto* one = reinterpret_cast<const rtattr*>(body + 1); RTA_OK(one, left); one = RTA_NEXT(one, left)) {
    if (one->rta_type == INET_DIAG_SKMEMINFO) {
      std::array<std::uint32_t, SK_MEMINFO_VARS> memory{};
      std::memcpy(memory.data(), RTA_DATA(one), std::min<std::size_t>(sizeof memory, RTA_PAYLOAD(one)));
      received.to_send = {memory[SK_MEMINFO_WMEM_QUEUED], memory[SK_MEMINFO_SNDBUF]};
    }
    if (one->rta_type != INET_DIAG_INFO) continue;
    tcp_info info{};
    std::memcpy(&info, RTA_DATA(one), std::min<std::size_t>(sizeof info, RTA_PAYLOAD(one)));
    received.bytes = info.tcpi_bytes_received;
  }
  return received;
}

}  // namespace

bool wait_peer_has_read(int socket, std::uint64_t sent, std::chrono::milliseconds limit) {
  const sockaddr_in here = name_of(socket, ::getsockname);
  const sockaddr_in there = name_of(socket, ::getpeername);
  for (const auto until = Clock::now() + limit;;) {
    const std::optional<Received> now = received_by(there, here);
    if (!now || (now->bytes >= sent && now->unread == 0)) return true;
    if (Clock::now() > until) return false;
    std::this_thread::yield();
  }
}

SendMemory peer_send_memory(int socket) {
  const std::optional<Received> now = received_by(name_of(socket, ::getpeername), name_of(socket, ::getsockname));
  if (!now) throw std::runtime_error("sock_diag: the other end is gone");
  return now->to_send;
}

}  // namespace test
