// One run of the power-loss model: a few lives over one disk, each with its own end and its own misfortunes, then one
// in which nothing goes wrong, a full drain, and the oracle's judgement. All of it follows from the seed, as far as the
// journal has no threads of its own. One thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "model/life.h"

namespace model {

struct Judgement {
  std::vector<std::string> complaints;  // none: every promise was kept
  // What the run was like; a run in which nothing happens proves nothing.
  std::uint64_t lives = 0;
  std::uint64_t power_cuts = 0, kills = 0;
  std::uint64_t cut_in_recovery = 0;
  std::uint64_t acknowledged = 0, refused = 0, unknown = 0;  // requests
  std::uint64_t handed_out = 0;                              // events, again and again
  std::array<std::uint64_t, sluice::kInstants> passed{};

  Judgement& operator+=(const Judgement& other);
};

// What a kind of journal is asked to withstand.
struct Menu {
  bool damage = true;  // bytes that were durable have changed; it must say how many events it lost
  bool removed_directory = true;
  bool removed_files = true;            // one by one; it must have an eye on them
  bool destruction = false;             // a write or a sync that fails destroys what it was to replace
  bool bad_starts = true;               // it opens whatever the disk does, and delivers what can be read
  bool queued = false;                  // Ack::queued as well
  bool threads = false;                 // the journal has some of its own
  std::uint64_t least_segment = 65536;  // the least that it takes
  std::size_t tries = 200;              // of what must come to an end once nothing goes wrong any more
};

// Is told each step, a line each; also by the journal's threads, if it has any.
using Trace = std::function<void(std::string_view line)>;

[[nodiscard]] Judgement run_scenario(std::uint64_t seed, const Starter& start, Menu menu = {}, Trace trace = {});

}  // namespace model
