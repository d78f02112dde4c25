// See the header.
#include "flags/address.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/un.h>

#include <limits>

#include "text/quantity.h"

namespace sluiced::flags {

namespace {

bool is_ipv6(const std::string& host) {
  in6_addr ignored{};
  return inet_pton(AF_INET6, host.substr(0, host.find('%')).c_str(), &ignored) == 1;
}

std::variant<Address, BadAddress> parse_unix(std::string_view path) {
  constexpr std::size_t kMax = sizeof(sockaddr_un::sun_path) - 1;  // and its terminating zero
  if (path.empty()) return BadAddress{"the path is missing"};
  if (path.size() > kMax) return BadAddress{fmt::format("a socket's path is at most {} bytes", kMax)};
  return Address{.host = {}, .port = 0, .path = std::string(path)};
}

}  // namespace

std::variant<Address, BadAddress> parse_address(std::string_view text) {
  constexpr std::string_view kUnix = "unix:";
  if (text.starts_with(kUnix)) return parse_unix(text.substr(kUnix.size()));

  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return BadAddress{"the port is missing"};
  std::string_view host = text.substr(0, colon);
  Address address;
  if (host.starts_with('[') && host.ends_with(']')) {
    address.host = host.substr(1, host.size() - 2);
    if (!is_ipv6(address.host)) return BadAddress{"what stands in brackets is not an IPv6 address"};
  } else {
    if (host.empty()) return BadAddress{"the host is missing"};
    if (host.find_first_of(":[]/ @") != std::string_view::npos) return BadAddress{"the host is not a name or number"};
    address.host = host;
  }
  const auto port = sluice::parse_count(text.substr(colon + 1));
  if (!port || *port > std::numeric_limits<std::uint16_t>::max())
    return BadAddress{"the port is a number from 0 to 65535"};
  address.port = static_cast<std::uint16_t>(*port);
  return address;
}

}  // namespace sluiced::flags
