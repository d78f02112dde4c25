// Posts a body until somebody takes it: tries again where nothing was taken (no connection, 429, 503), for a bounded
// time, and never where that is unknown. One thread; sleeps between tries.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "ctl/http_client.h"

namespace sluicectl {

enum class Fate : std::uint8_t {
  accepted,
  refused,      // nothing of it was taken, nor would be if sent again
  unknown,      // 500 or no answer: taken or not
  busy,         // nothing was taken, for as long as we were told to try
  unreachable,  // likewise, and nobody was there
};

class Poster {
 public:
  Poster(Url to, std::chrono::milliseconds retry_for)
      : client_(to.address), target_(to.target), retry_for_(retry_for) {}

  [[nodiscard]] Fate post(std::string_view content_type, std::string_view body);

  // The answer to the last post, if there was one.
  [[nodiscard]] const Answer& answer() const noexcept { return answer_; }
  // In one line, what became of it.
  [[nodiscard]] std::string why() const;

 private:
  HttpClient client_;
  std::string target_;
  std::chrono::milliseconds retry_for_;
  Answer answer_;
  bool answered_ = false;
};

}  // namespace sluicectl
