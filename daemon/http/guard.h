// Keeps web pages out. A browser sends what any page asks it to, to whatever address the machine can reach, so a
// listener on a loopback is open to every page that somebody looks at. Pure functions of a request's head and what the
// operator allows; any thread. They refuse a page of another site (Sec-Fetch-Site, Origin) and, where
// Config::checks_host says so, a page whose own name was made to point here (DNS rebinding), which no browser calls
// another site.
//
// What no page can forge: Sec-Fetch-Site, Origin and Host are written by the browser. A program can send any of them;
// against programs there are file modes, and tokens to come.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "http/request.h"
#include "http/server.h"

namespace sluiced::http {

// The index of an origin in the list of allowed ones, from 1; 0: not in the list. Case does not count.
[[nodiscard]] std::uint32_t place_of(std::string_view origin, const std::vector<std::string>& allowed) noexcept;

// A number or localhost: names that nobody else can make point here. `authority`: with a port or without.
[[nodiscard]] bool is_local(std::string_view authority) noexcept;

// Why this request is refused with 403; empty if it is not.
[[nodiscard]] std::string_view why_forbidden(const Head& head, const Config& config) noexcept;

}  // namespace sluiced::http
