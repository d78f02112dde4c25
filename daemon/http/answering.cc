// A connection's answers: those known at once and those that the committer owes leave in the order of their requests,
// as many as there are in one write; what the kernel does not take is kept, and charged. Its loop's thread alone. It
// refuses to hold more than there is room for: then the connection ends.
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "http/connection.h"
#include "http/io_thread.h"

namespace sluiced::http {

// Whether more may be taken: what it is answered with has to be held until the client and the committer let it go.
bool Connection::has_room() const noexcept {
  return unsent_.size() + pending_.bytes() < kUnsentLimit && pending_.slots() < kMostPending;
}

// A whole request goes to the tracker: answered at once if its end is known at once, or queued with the committer.
void Connection::submit(Content content, std::string_view content_type, ChargedBytes& attributes, std::string_view body,
                        Ending ending) {
  ending.origin = origin_;
  Slots::Hold slot = loop_.slots().try_hold();
  if (slot == nullptr) return problem({429, "no room to take this now"}, ending);
  if (const auto refusal = loop_.intake().take(content, content_type, attributes, body, *slot))
    return problem({refusal->status, refusal->detail, refusal->line, {}, true, refusal->index, refusal->by_tracker},
                   ending);
  if (loop_.draining()) ending.keep_alive = false;
  if (slot->told && pending_.empty()) return write_outcome(*slot, ending);
  slot->ending = ending;
  if (!ending.keep_alive) state_ = State::closing;
  pending_.push(std::move(slot));
}

// What the committer has answered goes on its way, and what was to wait behind it.
void Connection::write_told() {
  while (Slot* const slot = pending_.told()) {
    Ending ending = slot->ending;
    const bool last = pending_.slots() == 1 && slot->text.empty() && !half_read() && held_.empty();
    if (last && loop_.draining()) ending.keep_alive = false;  // what comes behind it now is refused
    write_outcome(*slot, ending);
    loop_.out() += slot->text.view();
    loop_.answers_in_out += slot->answers;
    pending_.pop();
    if (loop_.out().size() >= kUnsentLimit) flush();
  }
}

void Connection::write_outcome(const Slot& slot, Ending ending) {
  if (slot.outcome.answer == sluice::Admit::accepted) {
    write_accepted(loop_.out(), loop_.common(ending), slot.events, slot.outcome.first, slot.outcome.last);
    return answered(202, ending);
  }
  constexpr std::string_view detail = "the disk failed under this request: it was taken whole or not at all";
  write_problem(loop_.out(), loop_.common(ending), {500, detail});
  answered(500, ending);
}

void Connection::problem(const Problem& problem, Ending ending) {
  if (loop_.draining() || problem.status == 503) ending.keep_alive = false;
  ending.origin = origin_;
  if (const auto why = refused_by(problem.status); why && !problem.counted) loop_.statistics().count_refusal(*why);
  put(problem.status, ending, [&](std::string& out) { write_problem(out, loop_.common(ending), problem); });
}

void Connection::page(const Page& page, Ending ending, bool with_body) {
  ending.origin = origin_;
  put(page.status, ending, [&](std::string& out) { write_page(out, loop_.common(ending), page, with_body); });
}

void Connection::allowed(std::string_view fields, Ending ending) {
  ending.origin = origin_;
  put(204, ending, [&](std::string& out) { write_allowed(out, loop_.common(ending), fields); });
}

// An answer that is known at once: out with this turn's, or behind those that the committer owes.
template <typename Write>
void Connection::put(int status, Ending ending, Write write) {
  if (pending_.empty()) {
    write(loop_.out());
    return answered(status, ending);
  }
  std::string text;
  write(text);
  if (pending_.try_add(text, 1)) {
    loop_.statistics().count_answer(status);
  } else {
    ending.keep_alive = false;  // no room for it: those before it still go out, then the connection ends
  }
  if (!ending.keep_alive) state_ = State::closing;
}

void Connection::refuse(int status, std::string_view detail, bool with_body) {
  drop_request();
  problem({status, detail, 0, {}, with_body}, {.keep_alive = false});
}

void Connection::refuse_one_too_many() {
  loop_.statistics().count_refusal(Refused::connections);
  drop_request();
  problem({.status = 503, .detail = kTooManyConnections, .counted = true}, {.keep_alive = false});
}

void Connection::answered(int status, Ending ending) {
  loop_.statistics().count_answer(status);
  ++loop_.answers_in_out;
  progress_ = true;
  if (!ending.keep_alive) state_ = State::closing;
}

// ---- writing

// Hands this turn's answers to the kernel, or as much as it takes.
void Connection::flush() {
  std::string& out = loop_.out();
  if (out.empty()) return;
  std::size_t sent = 0;
  if (unsent_.empty() && state_ != State::closed) {
    const ssize_t size = ::send(socket_, out.data(), out.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (size < 0 && !try_later(errno)) close();
    sent = static_cast<std::size_t>(std::max<ssize_t>(size, 0));
  }
  if (sent < out.size() && state_ != State::closed) {
    unsent_answers_ += loop_.answers_in_out;
    // No room for its answers: a client that does not read is not worth more.
    if (!unsent_.try_append(std::string_view(out).substr(sent))) close();
  }
  out.clear();
  loop_.answers_in_out = 0;
}

void Connection::write() {
  if (unsent_.empty()) return;
  const ssize_t size = ::send(socket_, unsent_.view().data(), unsent_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (size < 0) {
    if (!try_later(errno)) close();
    return;
  }
  progress_ = true;
  unsent_.drop_front(static_cast<std::size_t>(size));
  if (unsent_.empty()) unsent_answers_ = 0;
  if (unsent_.empty() && open() && loop_.draining()) watch_settling();
  go_on();
}

}  // namespace sluiced::http
