// Answers of a turn gather in the thread's output and leave in one send(). Thread: see the header.
#include "http/response_writer.h"

#include <string>

#include "http/io_thread.h"

namespace sluiced::http {

ResponseWriter::ResponseWriter(IoThread& thread, ClientSocket& socket, Connection& connection) noexcept
    : thread_(thread), socket_(socket), unsent_(thread.shared().budget), pending_(connection) {}

bool ResponseWriter::has_room() const noexcept {
  return unsent_.size() + pending_.bytes() < kUnsentLimit && pending_.slots() < kMaxPending;
}

// ---- answers known at once

void ResponseWriter::problem(const Problem& problem, Ending ending) {
  if (thread_.draining() || problem.status == 503) ending.keep_alive = false;
  if (const auto why = refused_by(problem.status); why && !problem.counted) thread_.statistics().count_refusal(*why);
  put(problem.status, ending, [&](std::string& out, Ending how) { write_problem(out, thread_.common(how), problem); });
}

void ResponseWriter::page(const Page& page, Ending ending, bool with_body) {
  put(page.status, ending,
      [&](std::string& out, Ending how) { write_page(out, thread_.common(how), page, with_body); });
}

void ResponseWriter::allowed(std::string_view fields, Ending ending) {
  put(204, ending, [&](std::string& out, Ending how) { write_allowed(out, thread_.common(how), fields); });
}

// Into this turn's output, or behind those that the committer owes.
template <typename Write>
void ResponseWriter::put(int status, Ending ending, Write write) {
  ending.origin = origin_;
  if (pending_.empty()) {
    write(thread_.out(), ending);
    return answered(status, ending);
  }
  std::string text;
  write(text, ending);
  if (pending_.try_add(text, 1)) {
    thread_.statistics().count_answer(status);
  } else {
    ending.keep_alive = false;  // no room: the answers before it still leave, then the connection ends
  }
  if (!ending.keep_alive) closing_ = true;
}

bool ResponseWriter::try_continue() {
  if (!pending_.empty()) return pending_.try_add(kContinue, 0);
  thread_.out() += kContinue;
  return true;
}

void ResponseWriter::answered(int status, Ending ending) {
  thread_.statistics().count_answer(status);
  ++thread_.answers_in_out;
  progress_ = true;
  if (!ending.keep_alive) closing_ = true;
}

// ---- answers of the committer

void ResponseWriter::push(Slots::Hold slot, Ending ending) {
  ending.origin = origin_;
  if (thread_.draining()) ending.keep_alive = false;
  if (slot->completed && pending_.empty()) return write_outcome(*slot, ending);
  slot->ending = ending;
  if (!ending.keep_alive) closing_ = true;
  pending_.push(std::move(slot));
}

void ResponseWriter::write_completed(bool nothing_more) {
  while (!broken_) {
    Slot* const slot = pending_.completed();
    if (slot == nullptr) return;
    Ending ending = slot->ending;
    const bool last = nothing_more && pending_.slots() == 1 && slot->text.empty();
    if (last && thread_.draining()) ending.keep_alive = false;  // a request that comes now is refused
    write_outcome(*slot, ending);
    thread_.out() += slot->text.view();
    thread_.answers_in_out += slot->answers;
    pending_.pop();
    flush_if_long();
  }
}

void ResponseWriter::write_outcome(const Slot& slot, Ending ending) {
  if (slot.outcome.answer == sluice::Admit::accepted) {
    write_accepted(thread_.out(), thread_.common(ending), slot.events, slot.outcome.first, slot.outcome.last);
    return answered(202, ending);
  }
  constexpr std::string_view detail = "the disk failed under this request: it was taken whole or not at all";
  write_problem(thread_.out(), thread_.common(ending), {500, detail});
  answered(500, ending);
}

// ---- writing

void ResponseWriter::flush_if_long() {
  if (thread_.out().size() >= kUnsentLimit) flush();
}

void ResponseWriter::flush() {
  std::string& out = thread_.out();
  if (out.empty()) return;
  std::size_t sent = 0;
  if (unsent_.empty() && !broken_) {
    const std::ptrdiff_t size = socket_.try_send(out);
    broken_ = size < 0;
    if (!broken_) sent = static_cast<std::size_t>(size);
  }
  if (sent < out.size() && !broken_) {
    unsent_answers_ += thread_.answers_in_out;
    broken_ = !unsent_.try_append(std::string_view(out).substr(sent));  // a client that does not read gets no more
  }
  out.clear();
  thread_.answers_in_out = 0;
}

bool ResponseWriter::write_unsent() {
  if (unsent_.empty()) return false;
  const std::ptrdiff_t size = socket_.try_send(unsent_.view());
  broken_ = broken_ || size < 0;
  if (size <= 0) return false;
  progress_ = true;
  unsent_.drop_front(static_cast<std::size_t>(size));
  if (unsent_.empty()) unsent_answers_ = 0;
  return true;
}

void ResponseWriter::abandon() noexcept {
  broken_ = true;
  unsent_.release();
  unsent_answers_ = 0;
  pending_.abandon();
}

}  // namespace sluiced::http
