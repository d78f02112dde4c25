// Reads a listen address as it stands on the command line. Pure; any thread. Refuses, saying what is allowed, what
// could not be meant as an address; whether one can be bound here is the listener's question.
#include <fmt/format.h>

#include <string>

#include "flags/address.h"
#include "http/server.h"
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
