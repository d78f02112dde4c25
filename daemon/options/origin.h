// Parses the origins and host names of --allow-origin and --allow-host into the form that browsers send. Pure
// functions, any thread. Refuses whatever a browser would not send.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace sluiced::options {

inline constexpr std::size_t kMaxOrigin = 280;  // bytes: scheme, DNS name (at most 253) and port

// `SCHEME://HOST` or `SCHEME://HOST:PORT` in lower case, without the scheme's default port. Nothing if it is not an
// origin.
[[nodiscard]] std::optional<std::string> parse_origin(std::string_view text);

// In lower case. Nothing if it is not a name, or has a port.
[[nodiscard]] std::optional<std::string> parse_host_name(std::string_view text);

}  // namespace sluiced::options
