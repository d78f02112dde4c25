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
constexpr milliseconds kMaxWait{5000};  // also if the server asks for longer: one request in 5 s does not flood it

Outcome outcome_of(int status) {
  if (status >= 200 && status < 300) return Outcome::accepted;
  if (status == 429 || status == 503) return Outcome::busy;
  return status >= 500 ? Outcome::unknown : Outcome::refused;
}

}  // namespace

Outcome Poster::post(std::string_view content_type, std::string_view body, std::size_t events) {
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + retry_for_;
  milliseconds wait = kFirstWait;
  for (;;) {
    const HttpClient::Result result = client_.ask("POST", target_, content_type, body, answer_);
    answered_ = result == HttpClient::Result::answered;
    if (result == HttpClient::Result::no_answer) return Outcome::unknown;
    const Outcome outcome = answered_ ? outcome_of(answer_.status) : Outcome::unreachable;
    miscount_.clear();
    if (outcome == Outcome::accepted) {
      // Other servers than sluiced may give no count.
      const auto accepted = Json(answer_.body).number("/accepted");
      if (!accepted || *accepted == events) return outcome;
      miscount_ = fmt::format("says that it accepted {} of {} events", *accepted, events);
      return Outcome::unknown;
    }
    if (outcome != Outcome::busy && outcome != Outcome::unreachable) return outcome;
    milliseconds pause = wait;
    if (outcome == Outcome::busy && answer_.retry_after) pause = *answer_.retry_after;
    pause = std::clamp(pause, kFirstWait, kMaxWait);
    if (Clock::now() + pause > until) return outcome;
    if (!sleep(pause)) return outcome;
    wait = std::min(wait * 2, milliseconds{1000});
  }
}

bool Poster::sleep(milliseconds pause) const {
  constexpr milliseconds kStep{50};  // Ctrl-C takes effect within this time
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
