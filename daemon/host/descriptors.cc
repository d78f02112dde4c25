// RLIMIT_NOFILE. The soft limit is 1024 nearly everywhere, for programs that use select(); nothing here does.
#include "host/descriptors.h"

#include <sys/resource.h>

#include <algorithm>

namespace sluiced::host {

Descriptors raise_descriptor_limit() noexcept {
  constexpr std::size_t many = std::size_t{1} << 20U;  // RLIM_INFINITY, in effect
  rlimit limit{many, many};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    const rlimit raised{limit.rlim_max, limit.rlim_max};
    if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  const std::size_t all = std::min<std::size_t>(limit.rlim_cur, many);
  // A segment of the journal has two, of which there are 16 by default; a worker opens one or two anew. With few
  // descriptors in all, fewer segments fit beside the connections.
  const std::size_t kept = std::min<std::size_t>(all / 4, 128);
  return {all, all - kept, all - kept / 2};
}

}  // namespace sluiced::host
