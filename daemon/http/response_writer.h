// The answers of one connection. Those known at once and those that the committer owes leave in the order of their
// requests, as many as there are in one write; what the kernel does not take is kept, and charged to the server's
// budget. Its connection's thread alone. Without room for an answer it refuses all that follows: the connection ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "http/answer_queue.h"
#include "http/answers.h"
#include "http/charged_bytes.h"
#include "http/client_socket.h"
#include "http/slots.h"
#include "http/statistics.h"

namespace sluiced::http {

class IoThread;

class ResponseWriter {
 public:
  // All three outlive it. Slots that wait in it lead back to `connection`.
  ResponseWriter(IoThread& thread, ClientSocket& socket, Connection& connection) noexcept;

  // Answers from here are read by a page of this origin, as Ending has it; 0: none.
  void set_origin(std::uint32_t origin) noexcept { origin_ = origin; }
  [[nodiscard]] std::uint32_t origin() const noexcept { return origin_; }

  // The next answer, known at once.
  void problem(const Problem& problem, Ending ending);
  void page(const Page& page, Ending ending, bool with_body);
  void allowed(std::string_view fields, Ending ending);
  [[nodiscard]] bool try_continue();  // "100 Continue", which is no answer of its own; false: no room

  // The next answer is that of a request which was handed over: written when it is complete.
  void push(Slots::Hold slot, Ending ending);
  // Writes what the committer has completed, and answers that waited behind it. `nothing_more`: the client has sent
  // nothing that is not answered or queued here.
  void write_completed(bool nothing_more);
  [[nodiscard]] bool has_completed() noexcept { return pending_.completed() != nullptr; }

  void flush_if_long();               // ends a write early rather than hold many answers
  void flush();                       // gives this turn's answers to the kernel, or as much as it takes
  [[nodiscard]] bool write_unsent();  // when the socket is writable; false: nothing has left
  void abandon() noexcept;            // nobody reads them any more

  // Whether more requests may be taken: their answers are held until the committer and the client let them go.
  [[nodiscard]] bool has_room() const noexcept;
  [[nodiscard]] bool closing() const noexcept { return closing_; }  // the last answer is among them
  [[nodiscard]] bool broken() const noexcept { return broken_; }    // nothing leaves any more
  [[nodiscard]] bool owes_nothing() const noexcept { return unsent_.empty() && pending_.empty(); }
  [[nodiscard]] bool has_unsent() const noexcept { return !unsent_.empty(); }
  [[nodiscard]] bool waits_for_committer() const noexcept { return !pending_.empty(); }
  [[nodiscard]] std::size_t memory() const noexcept { return unsent_.capacity(); }
  [[nodiscard]] Owed owed() const noexcept {
    return {.answers = unsent_answers_ + pending_.answers(), .with_committer = pending_.slots()};
  }
  [[nodiscard]] bool take_progress() noexcept { return std::exchange(progress_, false); }  // since it was asked last

 private:
  static constexpr std::size_t kUnsentLimit = std::size_t{16} << 10U;  // bytes of answers
  static constexpr std::uint32_t kMaxPending = 128;                    // with the committer: 33 KiB to come

  void write_outcome(const Slot& slot, Ending ending);
  template <typename Write>
  void put(int status, Ending ending, Write write);
  void answered(int status, Ending ending);

  IoThread& thread_;
  ClientSocket& socket_;
  ChargedBytes unsent_;  // answers that the kernel did not take
  AnswerQueue pending_;  // those behind them, from the first that the committer owes
  std::uint32_t unsent_answers_ = 0;
  std::uint32_t origin_ = 0;
  bool closing_ = false;
  bool broken_ = false;
  bool progress_ = false;
};

}  // namespace sluiced::http
