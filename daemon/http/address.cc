// Parses an address of the command line. Pure; any thread. It refuses text that is no address, and names the allowed
// forms; whether the address can be bound here is checked by the listener.
#include "http/address.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/un.h>

#include <charconv>
#include <string>

#include "sluice/error.h"

namespace sluiced::http {
namespace {

[[noreturn]] void refuse(std::string_view text, std::string_view why) {
  throw sluice::StartError(
      sluice::StartError::Kind::usage,
      fmt::format("address '{}': {}; allowed are HOST:PORT, [IPV6]:PORT and unix:PATH", text, why));
}

std::uint16_t parse_port(std::string_view text, std::string_view digits) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc{} || end != digits.data() + digits.size())
    refuse(text, "the port is a number from 0 to 65535");
  return port;
}

bool is_ipv6(const std::string& host) {
  in6_addr ignored{};
  return inet_pton(AF_INET6, host.substr(0, host.find('%')).c_str(), &ignored) == 1;
}

Address parse_unix(std::string_view text, std::string_view path) {
  if (path.empty()) refuse(text, "the path is missing");
  constexpr std::size_t most = sizeof(sockaddr_un::sun_path) - 1;  // and its ending zero
  if (path.size() > most) refuse(text, fmt::format("a socket's path is at most {} bytes", most));
  Address address;
  address.path = path;
  return address;
}

}  // namespace

Address parse_address(std::string_view text) {
  constexpr std::string_view unix_prefix = "unix:";
  if (text.starts_with(unix_prefix)) return parse_unix(text, text.substr(unix_prefix.size()));

  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) refuse(text, "the port is missing");
  std::string_view host = text.substr(0, colon);

  Address address;
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
    address.host = host;
    if (!is_ipv6(address.host)) refuse(text, "what stands in brackets is not an IPv6 address");
  } else {
    if (host.empty()) refuse(text, "the host is missing");
    if (host.find_first_of(":[]/ ") != std::string_view::npos) refuse(text, "the host is not a name or number");
    address.host = host;
  }
  address.port = parse_port(text, text.substr(colon + 1));
  return address;
}

}  // namespace sluiced::http
