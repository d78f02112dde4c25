// Posts a body until somebody takes it: tries again where nothing was taken (no connection, 429, 503), for a bounded
// time, and never where that is unknown. One thread; sleeps between tries.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "ctl/http_client.h"

namespace sluicectl {

enum class Fate : std::uint8_t {
  accepted,
  refused,      // nothing of it was taken, nor would be if sent again
  unknown,      // 500, no answer, or one that counts other events than were sent: taken or not
  busy,         // nothing was taken, for as long as we were told to try
  unreachable,  // likewise, and nobody was there
};

class Poster {
 public:
  // Tries no more once `stopped` (null: never) says so; it is asked many times a second.
  Poster(Url to, std::chrono::nanoseconds retry_for, bool (*stopped)() noexcept = nullptr)
      : client_(to.address), target_(to.target), retry_for_(retry_for), stopped_(stopped) {}

  // From here posts go to this target of the same server.
  void aim_at(std::string target) { target_ = std::move(target); }

  // A body of so many events.
  [[nodiscard]] Fate post(std::string_view content_type, std::string_view body, std::size_t events);

  // The answer to the last post, if there was one.
  [[nodiscard]] const Answer& answer() const noexcept { return answer_; }
  // In one line, what became of it.
  [[nodiscard]] std::string why() const;

 private:
  // False: stopped.
  [[nodiscard]] bool sleep(std::chrono::milliseconds pause) const;

  HttpClient client_;
  std::string target_;
  std::chrono::nanoseconds retry_for_;
  bool (*stopped_)() noexcept;
  Answer answer_;
  bool answered_ = false;
  std::string miscount_;  // what is wrong with the count in the answer; empty if nothing is
};

}  // namespace sluicectl
