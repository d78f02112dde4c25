// The words for Refused, as the metrics have them. Pure.
#include "http/counters.h"

namespace sluiced::http {

std::string_view to_string(Refused why) noexcept {
  switch (why) {
    case Refused::malformed:
      return "malformed";
    case Refused::unsupported:
      return "unsupported";
    case Refused::too_large:
      return "too_large";
    case Refused::timeout:
      return "timeout";
    case Refused::full:
      return "full";
    case Refused::closed:
      return "closed";
    case Refused::forbidden:
      return "forbidden";
    case Refused::connections:
      return "connections";
  }
  return "?";
}

}  // namespace sluiced::http
