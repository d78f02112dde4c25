// Origins and host names of web pages, as --allow-origin and --allow-host take them: checked, and written as browsers
// write them. Pure functions; any thread. They refuse anything a browser would not send.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace sluiced::options {

inline constexpr std::size_t kMostOfOrigin = 280;  // bytes: a scheme, a name of DNS (253 at most) and a port

// `SCHEME://HOST` or `SCHEME://HOST:PORT` in lower case, without the scheme's default port. Nothing if it is no origin.
[[nodiscard]] std::optional<std::string> parse_origin(std::string_view text);

// In lower case. Nothing if it is no name, or has a port.
[[nodiscard]] std::optional<std::string> parse_host_name(std::string_view text);

}  // namespace sluiced::options
