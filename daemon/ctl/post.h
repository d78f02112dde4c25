// Posts a body until the server accepts it. Tries again if nothing was taken (no connection, 429, 503), for a bounded
// time; never if that is unknown. One thread; sleeps between tries.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "ctl/http_client.h"

namespace sluicectl {

enum class Outcome : std::uint8_t {
  accepted,
  refused,      // nothing was taken, and another try would not change that
  unknown,      // taken or not: 500, no answer, or an answer that counts other events than were sent
  busy,         // nothing was taken in all the time allowed
  unreachable,  // likewise, and there was no connection
};

class Poster {
 public:
  // Stops trying when `stopped` (null: never) returns true; calls it many times a second.
  Poster(Url to, std::chrono::nanoseconds retry_for, bool (*stopped)() noexcept = nullptr)
      : client_(to.address), target_(to.target), retry_for_(retry_for), stopped_(stopped) {}

  // Later posts go to this target of the same server.
  void aim_at(std::string target) { target_ = std::move(target); }

  // Posts a body of so many events.
  [[nodiscard]] Outcome post(std::string_view content_type, std::string_view body, std::size_t events);

  // The answer to the last post, if there was one.
  [[nodiscard]] const Answer& answer() const noexcept { return answer_; }
  // One line: why the last post had its outcome.
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
  std::string miscount_;  // what is wrong with the count in the answer; empty: nothing
};

}  // namespace sluicectl
