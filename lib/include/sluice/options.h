// What a tracker can be told. Plain values; the tracker's constructor checks them and throws StartError (usage) for
// what is out of range, naming the member.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string_view>

#include "sluice/api.h"

namespace sluice {

// What an answer promises, and so how long a track() takes.
enum class Ack : std::uint8_t {
  queued,   // in memory. With a state_dir a stop writes down what it cannot deliver; a crash loses it
  written,  // in the page cache: survives a crash of the process. Synced once a second
  synced,   // fdatasync: survives power loss. One serves all who wait
};

// What to do when memory is full.
enum class Overflow : std::uint8_t {
  disk,    // events wait in the journal and are brought back in order; `full` comes when journal_bytes is used up
  reject,  // they are answered `full`
};

enum class LogLevel : std::uint8_t { error, warn, info, debug };

// Gets a line without its end. Called on any of the tracker's threads or of those that call it, by several at a time,
// with none of its locks held, and not once it is gone. It must not block for long and must not throw.
using LogHook = std::function<void(LogLevel, std::string_view line)>;

struct Options {
  std::size_t workers = 0;                           // 1 … 1024; 0: usable_cpus()
  std::size_t queue_events = 65536;                  // 1 … 2^30, admitted and not finished
  std::size_t queue_bytes = std::size_t{64} << 20U;  // payloads, content types and overhead of those;
                                                     // an eighth more, 64 MiB at most, may lie idle for
                                                     // those that come. With a disk a quarter is for
                                                     // events on their way there, the rest for delivery
  std::size_t max_event_bytes = 256U << 10U;         // one event's payload; a larger one is `too_large`
  Ack ack = Ack::queued;                             // the others need a state_dir
  Overflow overflow = Overflow::reject;              // disk needs one too
  // Where the journal and dead letters are; made if missing, held by one tracker at a time. Without it, what the
  // deadline cuts off is lost, and what a sink refuses is only logged; with it, it is kept, and the next tracker there
  // takes it over. A local disk: its fdatasync is what `synced` promises.
  std::optional<std::filesystem::path> state_dir;
  std::uint64_t journal_bytes = std::uint64_t{1} << 30U;  // at least 1 MiB: most disk for journal and dead letters

  std::size_t batch_events = 512;                                       // 1 … 65536: most events a sink sees at once
  std::chrono::nanoseconds batch_linger{0};                             // how long a worker waits for a fuller batch
  std::chrono::nanoseconds retry_min = std::chrono::milliseconds{100};  // first backoff (before jitter), doubled up to
  std::chrono::nanoseconds retry_max = std::chrono::seconds{30};        // this one
  std::size_t retry_limit = 0;  // attempts before an event is a dead letter; 0: for ever

  LogHook log;  // empty: warnings and errors go to stderr
};

// How many CPUs this process may use: those of its affinity, or the quota of its control group, rounded up, if that is
// less. At least 1.
[[nodiscard]] SLUICE_API std::size_t usable_cpus();

// How many files a tracker may have open at a time for a journal of this size: two a segment. Who has fewer
// (RLIMIT_NOFILE) finds a disk that fails as soon as so many are needed, and works again when some are gone.
[[nodiscard]] SLUICE_API std::size_t descriptors_of_journal(std::uint64_t journal_bytes) noexcept;

}  // namespace sluice
