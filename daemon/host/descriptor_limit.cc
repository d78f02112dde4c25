// getrlimit(2) and setrlimit(2).
#include "host/descriptor_limit.h"

#include <sys/resource.h>

#include <limits>

namespace sluiced::host {

std::size_t raise_descriptor_limit() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return std::numeric_limits<std::size_t>::max();
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  // If raising it is forbidden, the old limit stays.
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : before;
}

}  // namespace sluiced::host
