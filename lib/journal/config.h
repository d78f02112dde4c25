// The options of a journal, and what all its parts share: the disk, the options, the log. Constant once the journal is
// constructed; any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

#include "journal/disk.h"
#include "journal/pace.h"
#include "sluice/event.h"
#include "sluice/options.h"

namespace sluice::journal {

struct Config {
  static constexpr std::size_t kMostLeft = 200;  // by a hundred runs

  RunId run;
  std::uint64_t limit_bytes = std::uint64_t{1} << 30U;  // all files together; at least 1 MiB
  std::uint64_t spill_bytes = 0;                        // of those, kept free for spill()
  LogHook log;
  std::size_t most_left = kMostLeft;  // segments, see Budget::most_segments()
  Pace pace = {};
  std::function<std::chrono::steady_clock::time_point()> now = [] { return std::chrono::steady_clock::now(); };
  // The number of events that are taken over from earlier runs. Called once, before any of them can be read; by
  // recover(), if the disk could not be read at the start.
  std::function<void(std::uint64_t events)> taken_over = {};
};

struct Context {
  Disk& disk;
  const Config config;

  void log(LogLevel level, std::string_view line) const {
    if (config.log) config.log(level, line);
  }
};

}  // namespace sluice::journal
