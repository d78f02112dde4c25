// `sluicectl journal replay-to`: posts the unfinished events of a journal to another listener, in their order, many in
// a request if a format carries them byte for byte, one request at a time. Remembers what was accepted (place.h), so an
// interrupted replay continues there. A refused event does not affect the others. Throws StartError (io) if the journal
// cannot be read or the place not written.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include "ctl/batch.h"
#include "ctl/commands.h"
#include "ctl/json.h"
#include "ctl/place.h"
#include "ctl/post.h"
#include "ctl/progress.h"
#include "host/interrupt.h"
#include "host/standard_streams.h"
#include "sluice/journal.h"

namespace sluicectl {

namespace {

// Of a body: the other side syncs a megabyte as fast as one event, and this is an eighth of the default
// --max-request-bytes of sluiced.
constexpr std::size_t kMaxBytes = std::size_t{1} << 20U;
// More complaints are counted, not shown.
constexpr std::size_t kMaxComplaints = 20;

Url with_query(Url to, std::string_view query) {
  to.target += to.target.find('?') == std::string::npos ? '?' : '&';
  to.target += query;
  return to;
}

// The name of the server in messages: without the query, which may contain a secret.
std::string name_of(const Url& url) {
  return (url.address.path.empty() ? "http://" : "") + url.address.shown + url.target.substr(0, url.target.find('?'));
}

class Replay {
 public:
  Replay(const Arguments& arguments, std::uint64_t unfinished, Place& place)
      : to_(arguments.to),
        poster_(arguments.to, arguments.retry_for, &sluiced::host::interrupted),
        place_(place),
        batch_(arguments.batch, kMaxBytes),
        most_events_(arguments.batch),
        unfinished_(unfinished),
        progress_(::isatty(STDERR_FILENO) == 1, unfinished, Progress::Clock::now()) {}

  // False: stop reading, nothing more can be sent.
  bool take(const sluice::Delivery& event) {
    if (is_over()) return false;
    if (place_.has(event.id)) {
      ++already_;
      return true;
    }
    if (batch_.try_add(event)) return true;
    flush();
    if (is_over()) return false;
    static_cast<void>(batch_.try_add(event));  // an empty batch accepts any event
    return true;
  }

  void flush() {
    if (is_over()) return;
    most_events_ = std::min(most_events_, send(0, batch_.size()));
    batch_.clear();
    batch_.set_max_events(most_events_);
    show(false);
  }

  [[nodiscard]] std::uint64_t already() const noexcept { return already_; }

  int finish() {
    show(true);
    if (complaints_ > kMaxComplaints)
      sluiced::host::complain({fmt::format("… and {} more", complaints_ - kMaxComplaints)});
    // Of the events that were unfinished at the start; a running daemon may have finished some since.
    const std::uint64_t unsent = unfinished_ - std::min(unfinished_, already_ + accepted_ + refused_ + unknown_);
    fmt::print("accepted={} refused={} unknown={} unsent={}{}\n", accepted_, refused_, unknown_, unsent,
               already_ > 0 ? fmt::format(" already={}", already_) : "");
    if (no_place_) {
      sluiced::host::complain(
          {fmt::format("sluicectl: remember the place: {}: the last events that were accepted are "
                       "sent again by the next replay",
                       no_place_.message())});
      return kUnreadable;
    }
    if (outcome_ == Outcome::unreachable) return kUnreachable;
    return refused_ + unknown_ + unsent == 0 ? kOk : kNo;
  }

 private:
  [[nodiscard]] bool is_over() const {
    return outcome_ == Outcome::busy || outcome_ == Outcome::unreachable || no_place_ || sluiced::host::interrupted();
  }

  // Sends events of the batch. A refused request is halved until the event at fault is alone. Returns how many events
  // the server accepts in a request, as far as this shows.
  std::size_t send(std::size_t first, std::size_t count) {
    std::size_t most = most_events_;
    if (count == 0 || is_over()) return most;
    Batch::Request request = batch_.request(first, count);
    poster_.aim_at(with_query(to_, request.query).target);
    outcome_ = poster_.post(request.content_type, request.body, count);
    const auto ids = batch_.ids().subspan(first, count);
    switch (outcome_) {
      case Outcome::accepted:
        accepted_ += count;
        no_place_ = place_.add(ids);
        return most;
      case Outcome::unknown:
        unknown_ += count;
        complain(ids);
        return most;
      case Outcome::busy:
      case Outcome::unreachable:
        complain(ids);
        return most;
      case Outcome::refused:
        break;
    }
    const int status = poster_.answer().status;
    const bool by_content = status == 400 || status == 413 || status == 415 || status == 422;
    if (count == 1 || !by_content) {
      refused_ += count;
      complain(ids);
      return most;
    }
    request = {};
    const Json problem(poster_.answer().body);
    const auto line = problem.number("/line");
    auto bad = line ? *line - 1 : problem.number("/index");  // /line counts from 1, /index from 0
    if (status == 413 && !bad) most = std::max<std::size_t>(count / 2, 1);
    if (bad && *bad < count) {
      const auto nth = static_cast<std::size_t>(*bad);
      most = std::min(most, send(first, nth));
      most = std::min(most, send(first + nth, 1));  // alone it may be accepted: perhaps the batch format was refused
      return std::min(most, send(first + nth + 1, count - nth - 1));
    }
    most = std::min(most, send(first, count / 2));
    return std::min(most, send(first + count / 2, count - count / 2));
  }

  void complain(std::span<const sluice::EventId> ids) {
    if (++complaints_ > kMaxComplaints) return;
    const std::string which = ids.size() == 1 ? to_string(ids.front())
                                              : fmt::format("{} to {}", to_string(ids.front()), to_string(ids.back()));
    write(progress_.make_way());
    sluiced::host::complain({fmt::format("sluicectl: {}: {}", which, poster_.why())});
  }

  void show(bool last) {
    write(progress_.show(already_ + accepted_ + refused_ + unknown_, accepted_, last, Progress::Clock::now()));
  }
  static void write(const std::string& text) { static_cast<void>(std::fputs(text.c_str(), stderr)); }

  const Url to_;
  Poster poster_;
  Place& place_;
  Batch batch_;
  std::size_t most_events_;
  const std::uint64_t unfinished_;
  Progress progress_;
  Outcome outcome_ = Outcome::accepted;
  std::error_code no_place_;  // why the accepted events could not be remembered
  std::uint64_t already_ = 0, accepted_ = 0, refused_ = 0, unknown_ = 0, complaints_ = 0;
};

}  // namespace

int journal_replay_to(const Arguments& arguments) {
  using sluiced::host::complain;
  const sluice::JournalView view(arguments.state_dir);
  const std::string to = name_of(arguments.to);
  const std::filesystem::path file =
      !arguments.place.empty() ? std::filesystem::path(arguments.place)
                               : place_for(arguments.state_dir, arguments.to.address.shown + arguments.to.target);
  const auto place = file == "none" ? std::make_unique<Place>() : std::make_unique<Place>(file, to);
  sluiced::host::catch_interrupts();
  Replay replay(arguments, view.totals().unfinished, *place);
  const std::error_code error =
      view.for_each_unfinished([&](const sluice::Delivery& event) { return replay.take(event); });
  replay.flush();
  const int code = replay.finish();
  if (sluiced::host::interrupted()) complain({"sluicectl: interrupted"});
  if (replay.already() > 0 || code != kOk) {
    const std::string where =
        file == "none" ? "nothing was remembered (--place none)" : "remembered in " + file.string();
    complain({fmt::format("sluicectl: what {} has accepted is {}", to, where)});
  }
  if (!error) return code;
  complain({fmt::format("sluicectl: read the journal: {}", error.message())});
  return kUnreadable;
}

}  // namespace sluicectl
