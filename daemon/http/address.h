// An address to listen on, as the command line has it. Values; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sluiced::http {

// Where to listen: HOST:PORT, [::1]:PORT or unix:PATH.
struct Address {
  std::string host;  // name or number, without brackets; empty for a unix socket
  std::uint16_t port = 0;
  std::string path;  // of a unix socket; empty for TCP
  // Of a unix socket's file, whatever the umask.
  unsigned mode = 0600;
  std::string group = {};  // its name or number; empty: the one that the system gives the file
  bool optional = false;   // a failure to listen there is logged, and the other addresses serve
};

// Throws sluice::StartError (usage) with one line that names the fault and what is allowed.
[[nodiscard]] Address parse_address(std::string_view text);

}  // namespace sluiced::http
