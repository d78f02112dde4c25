// See the header: the ranges that sluice/options.h names, one a line.
#include "tracker/checked_options.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string_view>

#include "sluice/error.h"
#include "sluice/host.h"

namespace sluice {

namespace {

using std::chrono::nanoseconds;

}  // namespace

Options checked(Options options, bool other_disk) {
  const bool has_disk = options.state_dir || other_disk;
  const auto require = [](bool holds, const char* what) {
    if (!holds) throw StartError(StartError::Kind::usage, what);
  };
  if (options.workers == 0) options.workers = std::min<std::size_t>(usable_cpus(), 1024);
  require(options.workers <= 1024, "workers: 0 to 1024");
  require(options.queue_events >= 1 && options.queue_events <= std::size_t{1} << 30U, "queue_events: 1 to 2^30");
  require(options.queue_bytes >= 1, "queue_bytes: at least 1");
  require(options.max_event_bytes >= 1, "max_event_bytes: at least 1");
  require(options.batch_events >= 1 && options.batch_events <= 65536, "batch_events: 1 to 65536");
  require(options.batch_linger >= nanoseconds::zero(), "batch_linger: not negative");
  require(options.retry_min >= nanoseconds::zero(), "retry_min: not negative");
  require(options.retry_max >= options.retry_min, "retry_max: not less than retry_min");
  require(has_disk || options.ack == Ack::queued, "ack: written and synced need a state_dir");
  require(has_disk || options.overflow == Overflow::reject, "overflow: disk needs a state_dir");
  require(options.journal_bytes >= std::uint64_t{1} << 20U, "journal_bytes: at least 1 MiB");
  if (!options.log) {
    options.log = [](LogLevel level, std::string_view line) {
      if (level == LogLevel::error || level == LogLevel::warn) {
        // fmt::print would throw where stderr cannot be written.
        static_cast<void>(std::fputs(fmt::format("sluice: {}\n", line).c_str(), stderr));
      }
    };
  }
  return options;
}

}  // namespace sluice
