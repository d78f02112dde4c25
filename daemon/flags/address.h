// Where a listener is, as flags name it: HOST:PORT, [IPV6]:PORT or unix:PATH. A value and a pure function; any thread.
// Refuses what could not be meant as an address; resolves no name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

namespace sluiced::flags {

struct Address {
  std::string host;  // without brackets; empty for a unix socket
  std::uint16_t port = 0;
  std::string path;  // of a unix socket; fits a sockaddr_un
};

struct BadAddress {
  std::string why;  // "the port is missing"
};

[[nodiscard]] std::variant<Address, BadAddress> parse_address(std::string_view text);

}  // namespace sluiced::flags
