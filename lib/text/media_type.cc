// See the header.
#include "text/media_type.h"

namespace sluice {

bool MediaType::has_suffix(std::string_view suffix) const noexcept {
  return name_.size() > suffix.size() && equal_without_case(name_.substr(name_.size() - suffix.size()), suffix);
}

std::string_view MediaType::subtype() const noexcept {
  const std::size_t slash = name_.find('/');
  return slash == std::string_view::npos ? std::string_view() : name_.substr(slash + 1);
}

std::string_view MediaType::parameter(std::string_view name) const noexcept {
  for (std::string_view rest = parameters_; !rest.empty();) {
    rest.remove_prefix(1);  // the semicolon
    const std::size_t end = std::min(rest.find(';'), rest.size());
    const std::string_view parameter = trimmed(rest.substr(0, end));
    rest.remove_prefix(end);
    const std::size_t equals = parameter.find('=');
    if (equals == std::string_view::npos || !equal_without_case(parameter.substr(0, equals), name)) continue;
    const std::string_view value = parameter.substr(equals + 1);
    const bool quoted = value.size() >= 2 && value.starts_with('"') && value.ends_with('"');
    return quoted ? value.substr(1, value.size() - 2) : value;
  }
  return {};
}

}  // namespace sluice
