// See the header.
#include "ctl/post.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "ctl/json.h"

namespace sluicectl {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstWait{50};
constexpr milliseconds kLongestWait{5000};  // also where a server says longer: it is looked at again, not flooded

Fate fate_of(int status) {
  if (status >= 200 && status < 300) return Fate::accepted;
  if (status == 429 || status == 503) return Fate::busy;
  return status >= 500 ? Fate::unknown : Fate::refused;
}

}  // namespace

Fate Poster::post(std::string_view content_type, std::string_view body) {
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + retry_for_;
  milliseconds wait = kFirstWait;
  for (;;) {
    const HttpClient::Result result = client_.ask("POST", target_, content_type, body, answer_);
    answered_ = result == HttpClient::Result::answered;
    if (result == HttpClient::Result::no_answer) return Fate::unknown;
    const Fate fate = answered_ ? fate_of(answer_.status) : Fate::unreachable;
    if (fate != Fate::busy && fate != Fate::unreachable) return fate;
    milliseconds pause = wait;
    if (fate == Fate::busy && answer_.retry_after) pause = *answer_.retry_after;
    pause = std::clamp(pause, kFirstWait, kLongestWait);
    if (Clock::now() + pause > until) return fate;
    std::this_thread::sleep_for(pause);
    wait = std::min(wait * 2, milliseconds{1000});
  }
}

std::string Poster::why() const {
  if (!answered_) return client_.error();
  const Json problem(answer_.body);
  std::string text = fmt::format("answered {}", answer_.status);
  if (const auto title = problem.text("/title")) text += " " + *title;
  if (const auto detail = problem.text("/detail")) text += ": " + *detail;
  return text;
}

}  // namespace sluicectl
