// What a server counts. Values; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string_view>

namespace sluiced::http {

// Why events were refused before the tracker saw them.
enum class Refused : std::uint8_t {
  malformed,    // not HTTP, not JSON, or no event at all
  unsupported,  // an encoding, a type or a version that is not taken
  too_large,
  timeout,      // the request came too slowly
  full,         // no room to receive it
  closed,       // the stop has begun
  forbidden,    // a web page of another site asked
  connections,  // more than --max-connections, or more than one client may have
};
inline constexpr std::size_t kRefused = static_cast<std::size_t>(Refused::connections) + 1;  // how many there are
[[nodiscard]] std::string_view to_string(Refused why) noexcept;

struct Counters {
  std::size_t connections = 0;            // open now
  std::size_t answers_owed = 0;           // to requests half read or with the committer, or not sent yet
  std::size_t with_committer = 0;         // of those, to requests that wait for the committer
  std::uint64_t wake_ups = 0;             // of its threads, by completions from other threads
  std::map<int, std::uint64_t> answered;  // by status, since the start
  // By Refused, since the start: each counts as one event, since the events in it were not counted.
  std::array<std::uint64_t, kRefused> refused{};
};

}  // namespace sluiced::http
