// The checks of guard.h, in its order: the site of the page (Sec-Fetch-Site), its Origin, the Host. Pure.
#include "http/guard.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>

#include "http/text.h"

namespace sluiced::http {
namespace {

// Without the port; an IPv6 number keeps its brackets.
std::string_view host_of(std::string_view authority) noexcept {
  if (authority.starts_with('[')) return authority.substr(0, authority.find(']') + 1);
  return authority.substr(0, authority.find(':'));
}

bool is_number(std::string_view host) noexcept {
  const bool v6 = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (v6) host = host.substr(1, host.size() - 2);
  std::array<char, INET6_ADDRSTRLEN> text{};  // zero-terminated
  if (host.size() >= text.size()) return false;
  host.copy(text.data(), host.size());
  in6_addr ignored{};
  return inet_pton(v6 ? AF_INET6 : AF_INET, text.data(), &ignored) == 1;
}

bool is_among(std::string_view text, const std::vector<std::string>& all) noexcept {
  return std::any_of(all.begin(), all.end(), [text](const std::string& one) { return equal_without_case(text, one); });
}

// A browser sends "null" for a page without an origin: from a file, or in a sandboxed frame. It may be any site's.
bool is_local_origin(std::string_view origin) noexcept {
  const std::size_t at = origin.find("://");
  return at != std::string_view::npos && is_local(origin.substr(at + 3));
}

}  // namespace

std::uint32_t place_of(std::string_view origin, const std::vector<std::string>& allowed) noexcept {
  const auto found = std::find_if(allowed.begin(), allowed.end(),
                                  [origin](const std::string& one) { return equal_without_case(origin, one); });
  return found == allowed.end() ? 0 : static_cast<std::uint32_t>(found - allowed.begin()) + 1;
}

bool is_local(std::string_view authority) noexcept {
  const std::string_view host = host_of(authority);
  return equal_without_case(host, "localhost") || is_number(host);
}

std::string_view why_forbidden(const Head& head, const Config& config) noexcept {
  const bool allowed = !head.origin.empty() && place_of(head.origin, config.allowed_origins) != 0;
  // Pages of allowed origins may send events from their own sites, and nothing else.
  if (head.cross_site && !(allowed && config.submit)) return "a web page of another site asks";
  if (!head.origin.empty() && !allowed && !is_local_origin(head.origin))
    return "a web page asks whose Origin is not allowed (--allow-origin)";
  if (config.checks_host && !head.host.empty() && !is_local(head.host) &&
      !is_among(host_of(head.host), config.allowed_hosts))
    return "the Host is no number, not localhost and not allowed (--allow-host)";
  return {};
}

}  // namespace sluiced::http
