// A load of many connections that remembers the fate of each event. One thread of its own with epoll; it keeps sending
// until it has sent all, is told to stop, or finds nobody listening any more. Events are numbered from 0, and their
// payload is the JSON `{"k":NUMBER}` (perhaps with padding behind it), by which a sink's reader (delivered.h) knows
// them again.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "support/process.h"

namespace test {

enum class Mode { single, ndjson, pipelined };  // one event a request; many; one, and many requests at a time

struct LoadPlan {
  std::string address;
  Mode mode = Mode::single;
  std::size_t connections = 32;
  std::size_t batch = 20;               // events a request with `ndjson`
  std::size_t depth = 16;               // requests under way with `pipelined`
  int receive_bytes = 0;                // as SO_RCVBUF: with little, answers wait at the daemon; 0 for the system's own
  std::size_t first_event = 0;          // their numbers begin here, so that several loads can feed one sink
  std::size_t most_events = 2'000'000;  // and end before this
  std::size_t padding = 0;              // bytes more in each payload
};

enum class Fate : std::uint8_t {
  unsent,
  unknown,       // sent, and no answer or a 500
  acknowledged,  // 202, read to its last byte
  refused,       // any other answer
};

struct Fates {
  std::vector<Fate> of;  // by number
  std::size_t acknowledged = 0, refused = 0, unknown = 0;
  std::map<int, std::size_t> answers;  // requests by status
  std::size_t resets = 0;              // of connections that had been answered
  std::vector<std::string> oddities;   // answers that are none
};

class Load {
 public:
  explicit Load(const LoadPlan& plan);  // under way once constructed
  ~Load();
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  // False if the limit passes first.
  [[nodiscard]] bool wait_acknowledged(std::size_t events, milliseconds limit) const;

  // Sends nothing more; what is under way is waited for by fates().
  void stop() noexcept { stop_.store(true); }

  // Waits for the load's end; throws at the limit.
  [[nodiscard]] const Fates& fates(milliseconds limit = std::chrono::seconds(20));

 private:
  class Loop;

  std::atomic<bool> stop_{false};
  std::atomic<bool> abandon_{false};
  std::atomic<bool> ended_{false};
  std::atomic<std::size_t> acknowledged_{0};
  Fates fates_;  // the loop's until ended_
  std::jthread thread_;
};

}  // namespace test
