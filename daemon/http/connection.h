// One client, from its accepted socket to the end: which turns it has, when its time is up, how it closes. Bytes become
// requests in its RequestReader, answers leave by its ResponseWriter. Lives on its io thread alone. What an idle one
// costs is this object; everything more is charged to the server's budget first. It closes clients that make no
// progress, but for those that wait for the committer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>

#include "http/budget.h"
#include "http/client_socket.h"
#include "http/event_loop.h"
#include "http/peers.h"
#include "http/request_reader.h"
#include "http/response_writer.h"
#include "http/server.h"
#include "http/statistics.h"

namespace sluiced::http {

class IoThread;

// An accepted socket, its listener's kind and its peer.
struct Accepted {
  int fd = -1;
  bool tcp = true;
  std::optional<Peer> peer = {};  // as counted in Shared::peers; nothing: in none
};

class Connection final : public EventLoop::Watcher {
 public:
  // Takes over the socket, which is counted in Shared::connections, and perhaps in Shared::peers.
  Connection(IoThread& thread, const Accepted& accepted) noexcept;
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Each of these is one turn, and may end with the connection destroyed: the caller touches it no more.
  void begin(bool one_too_many);  // the first: waits for requests; of one too many, for one that reads a page
  void on_ready(std::uint32_t events) override;
  void on_completed();               // the committer has completed the first request that it owes
  void drain();                      // the server drains, or quiet clients are to go: if idle, ends
  void end_reading();                // of a drain: gives up a request that is half read
  void give_up();                    // of a drain: gives up answers that the client has not read, or not got yet
  void tick(Clock::time_point now);  // ends what makes no progress
  [[nodiscard]] bool try_let_go();   // ends it if its client is idle; false if it is not

  // How much memory a request holds for how long without progress, in bytes times seconds; 0: it makes progress.
  [[nodiscard]] double burden(Clock::time_point now) const noexcept;
  void lose_request() noexcept;  // frees that memory; the client is answered in a turn of its own

  // For its parts.
  [[nodiscard]] IoThread& thread() const noexcept { return thread_; }
  [[nodiscard]] Budget& budget() const noexcept;
  [[nodiscard]] RequestReader& reader() noexcept { return reader_; }
  [[nodiscard]] ResponseWriter& responses() noexcept { return responses_; }
  [[nodiscard]] bool tcp() const noexcept { return socket_.tcp(); }
  [[nodiscard]] bool one_too_many() const noexcept { return one_too_many_; }
  [[nodiscard]] bool open() const noexcept;  // may take requests
  [[nodiscard]] bool has_room() const noexcept { return responses_.has_room(); }
  [[nodiscard]] std::size_t unread() const noexcept { return socket_.unread(); }
  [[nodiscard]] std::size_t memory_beside_body() const noexcept { return reader_.memory() + responses_.memory(); }
  void refuse(const Problem& why);  // the request at hand, and close
  void refuse_one_too_many();
  void note_progress() noexcept { progress_ = true; }

  std::list<Connection>::iterator self;  // where its thread keeps it

 private:
  // open -> lingering (the last answer has gone to the kernel) -> closed
  enum class State : std::uint8_t { open, lingering, closed };
  enum class Waiting : std::uint8_t { idle, head, body, committer, unsent, linger };  // for what, so how long

  void read();
  void write();
  void settle();
  void refuse_lost();
  void start_lingering();
  void linger_until_settled();
  void watch_settling();
  void check_settled();
  void close();
  void account();
  void renew_deadline();
  [[nodiscard]] Waiting waits_for() const noexcept;
  [[nodiscard]] std::chrono::nanoseconds time_limit() const noexcept;
  [[nodiscard]] bool delivered() const noexcept;
  [[nodiscard]] bool may_be_about_to_speak() const noexcept;

  IoThread& thread_;
  ClientSocket socket_;
  RequestReader reader_;
  ResponseWriter responses_;
  const std::optional<Peer> peer_;
  const Clock::time_point accepted_at_;
  Clock::time_point moved_at_;  // to the end of its thread's list
  Clock::time_point deadline_{};
  Owed owed_;                        // as told to the thread
  std::size_t was_unconfirmed_ = 0;  // when the deadline for unsent answers was set
  std::uint32_t interest_ = 0;       // as told to the event loop
  State state_ = State::open;
  Waiting waiting_ = Waiting::idle;
  bool one_too_many_ = false;
  bool lost_ = false;      // its request was, see lose_request()
  bool progress_ = true;   // since the deadline was set
  bool settling_ = false;  // the thread counts it: a last answer is on its way
};

}  // namespace sluiced::http
