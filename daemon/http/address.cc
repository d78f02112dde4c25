// Makes a server's Address of text from the command line. Pure; any thread. It refuses text that is no address, and
// names the allowed forms; the listener checks whether the address can be bound here.
#include "http/address.h"

#include <fmt/format.h>

#include <string>

#include "flags/address.h"
#include "sluice/error.h"

namespace sluiced::http {

Address parse_address(std::string_view text) {
  auto parsed = flags::parse_address(text);
  if (const auto* const bad = std::get_if<flags::BadAddress>(&parsed)) {
    throw sluice::StartError(
        sluice::StartError::Kind::usage,
        fmt::format("address '{}': {}; allowed are HOST:PORT, [IPV6]:PORT and unix:PATH", text, bad->why));
  }
  auto& [host, port, path] = std::get<flags::Address>(parsed);
  Address address;
  address.host = std::move(host);
  address.port = port;
  address.path = std::move(path);
  return address;
}

}  // namespace sluiced::http
