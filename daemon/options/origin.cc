// Character checks only; no name is resolved.
#include "options/origin.h"

#include <algorithm>

#include "text/ascii.h"

namespace sluiced::options {

namespace {

bool is_of(std::string_view text, std::string_view others) {
  return std::all_of(text.begin(), text.end(), [others](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || others.find(c) != std::string_view::npos;
  });
}

bool is_origin(std::string_view text) {
  const std::size_t at = text.find("://");
  if (text.size() > kMaxOrigin || at == 0 || at == std::string_view::npos) return false;
  if (!is_of(text.substr(0, at), "+.-")) return false;
  std::string_view host = text.substr(at + 3);
  const std::size_t bracket = host.starts_with('[') ? host.find(']') : 0;
  if (bracket == std::string_view::npos) return false;
  const std::size_t colon = host.find(':', bracket);
  if (colon != std::string_view::npos) {
    const std::string_view port = host.substr(colon + 1);
    if (port.empty() || port.find_first_not_of("0123456789") != std::string_view::npos) return false;
  }
  host = host.substr(0, colon);
  return !host.empty() && is_of(host, bracket == 0 ? ".-_" : "[]:.");
}

}  // namespace

std::optional<std::string> parse_origin(std::string_view text) {
  std::string origin = sluice::lower_case(text);
  if (!is_origin(origin)) return std::nullopt;
  if (origin.starts_with("https:") && origin.ends_with(":443")) origin.resize(origin.size() - 4);
  if (origin.starts_with("http:") && origin.ends_with(":80")) origin.resize(origin.size() - 3);
  return origin;
}

std::optional<std::string> parse_host_name(std::string_view text) {
  std::string name = sluice::lower_case(text);
  if (name.empty() || !is_of(name, ".-_")) return std::nullopt;
  return name;
}

}  // namespace sluiced::options
