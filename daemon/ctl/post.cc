// See the header.
#include "ctl/post.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "ctl/json.h"
#include "ctl/printable.h"

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

Fate Poster::post(std::string_view content_type, std::string_view body, std::size_t events) {
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + retry_for_;
  milliseconds wait = kFirstWait;
  for (;;) {
    const HttpClient::Result result = client_.ask("POST", target_, content_type, body, answer_);
    answered_ = result == HttpClient::Result::answered;
    if (result == HttpClient::Result::no_answer) return Fate::unknown;
    const Fate fate = answered_ ? fate_of(answer_.status) : Fate::unreachable;
    miscount_.clear();
    if (fate == Fate::accepted) {
      // A server that is no sluiced may count nothing.
      const auto accepted = Json(answer_.body).number("/accepted");
      if (!accepted || *accepted == events) return fate;
      miscount_ = fmt::format("says that it accepted {} of {} events", *accepted, events);
      return Fate::unknown;
    }
    if (fate != Fate::busy && fate != Fate::unreachable) return fate;
    milliseconds pause = wait;
    if (fate == Fate::busy && answer_.retry_after) pause = *answer_.retry_after;
    pause = std::clamp(pause, kFirstWait, kLongestWait);
    if (Clock::now() + pause > until) return fate;
    if (!sleep(pause)) return fate;
    wait = std::min(wait * 2, milliseconds{1000});
  }
}

bool Poster::sleep(milliseconds pause) const {
  constexpr milliseconds kStep{50};  // so soon a key press is heard
  for (; pause.count() > 0; pause -= kStep) {
    if (stopped_ != nullptr && stopped_()) return false;
    std::this_thread::sleep_for(std::min(pause, kStep));
  }
  return true;
}

std::string Poster::why() const {
  if (!answered_) return client_.error();
  const Json problem(answer_.body);
  std::string text = fmt::format("answered {}", answer_.status);
  if (!miscount_.empty()) return text + ": " + miscount_;
  if (const auto title = problem.text("/title")) text += " " + printable(*title);
  if (const auto detail = problem.text("/detail")) text += ": " + printable(*detail);
  return text;
}

}  // namespace sluicectl
