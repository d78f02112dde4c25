// Keeps web pages out. A browser sends requests of any page to any address that the machine can reach, so a listener on
// a loopback is open to every page that a user visits. Pure functions of a request's head and the operator's options;
// any thread. They refuse a page of another site (Sec-Fetch-Site, Origin) and, where Config::checks_host says so, a
// page whose own name was made to point here (DNS rebinding), which no browser calls another site. No page can forge
// Sec-Fetch-Site, Origin or Host: the browser writes them. A program can send any of them; file modes protect against
// programs.
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

// A number or localhost: names that no other site can make resolve to this machine. `authority`: with a port or
// without.
[[nodiscard]] bool is_local(std::string_view authority) noexcept;

// Why this request is refused with 403; empty: it is not.
[[nodiscard]] std::string_view why_forbidden(const Head& head, const Config& config) noexcept;

}  // namespace sluiced::http
