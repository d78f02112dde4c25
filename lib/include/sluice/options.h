// A tracker's options: plain values, each with a default. The tracker's constructor checks them and throws StartError
// (usage) for a value out of range, naming the member.
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

// What `accepted` promises, and so how long a track() takes.
enum class Ack : std::uint8_t {
  queued,   // in memory. With a state_dir a stop writes down what it cannot deliver; a crash loses it
  written,  // in the page cache: survives a crash of the process. Synced once a second
  synced,   // fdatasync: survives power loss. One call serves all waiting requests
};

// What happens when memory is full.
enum class Overflow : std::uint8_t {
  disk,    // events wait in the journal and are read back in order; `full` is answered when journal_bytes is used up
  reject,  // events are answered `full`
};

enum class LogLevel : std::uint8_t { error, warn, info, debug };

// Gets one line, without its line end. Called concurrently, on the tracker's threads and on those that call it, with no
// lock of the tracker held, and never after the tracker is destroyed. It must not block for long and must not throw.
using LogHook = std::function<void(LogLevel, std::string_view line)>;

struct Options {
  std::size_t workers = 0;                           // 1 to 1024; 0: as many as this process may use CPUs
  std::size_t queue_events = 65536;                  // 1 to 2^30: accepted and not finished
  std::size_t queue_bytes = std::size_t{64} << 20U;  // payloads, content types and their overhead, plus up to 1/8 (at
                                                     // most 64 MiB) of recycled memory. With a disk, a quarter is for
                                                     // events on their way to it, the rest for delivery
  std::size_t max_event_bytes = 256U << 10U;         // payload of one event; a larger one is `too_large`
  Ack ack = Ack::queued;                             // written and synced need a state_dir
  Overflow overflow = Overflow::reject;              // disk needs a state_dir
  // The directory of journal and dead letters; created if missing, held by one tracker at a time. With it, events that
  // a stop cannot deliver and events that the sink refuses are kept, and the next tracker there takes them over.
  // Without it they are lost, and the log says so. On a local disk: `synced` promises what its fdatasync does.
  std::optional<std::filesystem::path> state_dir{};
  std::uint64_t journal_bytes = std::uint64_t{1} << 30U;  // disk for journal and dead letters; at least 1 MiB

  std::size_t batch_events = 512;                                       // 1 to 65536: most events in one deliver()
  std::chrono::nanoseconds batch_linger{0};                             // how long a worker waits for a fuller batch
  std::chrono::nanoseconds retry_min = std::chrono::milliseconds{100};  // first backoff (before jitter), doubled up to
  std::chrono::nanoseconds retry_max = std::chrono::seconds{30};        // this one
  // After so many failed attempts an event is refused, and so becomes a dead letter. Default: 20, counting only those
  // while other events were delivered. So one bad event does not occupy the queue for ever, and an outage of the sink
  // costs no event: then all of them wait, and the log says so every ten seconds. A number counts all attempts, also
  // those in an outage; 0: no limit of any kind.
  std::optional<std::size_t> retry_limit{};

  LogHook log{};  // default: warnings and errors go to stderr
};

}  // namespace sluice
