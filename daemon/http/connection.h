// One client: reads, lets requests be taken and answered in their order, writes, lingers, ends. Lives on its loop's
// thread alone. What an idle one costs is this object; what is more (half a request, answers that wait for the
// committer or for the client) is charged to the server's budget first. What has arrived is taken where the loop read
// it to, and all its answers go out in one write. It refuses by answering and closing; clients without progress are
// closed by tick(), but for those that wait for the committer.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "http/answers.h"
#include "http/budget.h"
#include "http/chunks.h"
#include "http/intake.h"
#include "http/request.h"
#include "http/server.h"
#include "http/slots.h"

namespace sluiced::http {

class Loop;

// What a read or write that could not be done now says.
[[nodiscard]] inline bool try_later(int error) noexcept {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

// Answers that a connection owes its client.
struct Owed {
  std::uint32_t answers = 0;
  std::uint32_t with_committer = 0;  // of those, to requests that are with it

  [[nodiscard]] bool operator==(const Owed&) const = default;
};

class Connection {
 public:
  // Takes over the socket, which is counted in Shared::connections.
  Connection(Loop& loop, int socket, bool tcp) noexcept;
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Each of these is one turn, and may end with the connection forgotten: the caller touches it no more.
  void begin();                       // the first: waits for requests
  void on_ready(std::uint32_t what);  // EPOLLIN, EPOLLOUT …
  void on_told();                     // the first of its answers with the committer is there
  void turn_away();                   // one connection too many: 503, unread
  void drain();                       // the loop drains: if idle, ends
  void end_reading();                 // what is half read by now stays half read
  void give_up();                     // drops what the client has not read, or not got yet
  void tick(Clock::time_point now);   // ends what makes no progress

  std::list<Connection>::iterator self;  // where the loop keeps it

 private:
  static constexpr std::size_t kUnsentLimit = std::size_t{16} << 10U;  // answers, above which a client is not read
  static constexpr std::uint32_t kMostPending = 128;                   // with the committer, likewise: 33 KiB to come

  // open -> closing (what the last answer is for has been taken) -> lingering (it has gone to the kernel) -> closed
  enum class State : std::uint8_t { open, closing, lingering, closed };
  enum class Waiting : std::uint8_t { idle, head, body, committer, unsent, linger };  // for what, so how long

  // A request whose body is on its way.
  struct Request {
    Request(Budget& budget, Content of, std::string_view type, ChargedBytes of_event)
        : content(of), content_type(type), attributes(std::move(of_event)), body(budget), own(budget) {}

    Content content;
    std::string content_type;  // a view would point into what is read next
    ChargedBytes attributes;   // of a CloudEvent in binary mode
    Ending ending;
    std::size_t limit = 0;
    std::size_t expected = 0;           // the length, if not chunked
    std::optional<ChunkReader> chunks;  // if chunked
    std::size_t mark = 0;               // how much there was when the client last got more time
    ChargedBytes body;
    Charge own;  // for this object
  };

  // A turn ends with settle(): it writes, and decides what is waited for next.
  void read();
  void write();
  void settle();

  // Taking bytes: each returns how many are used up, 0 for "not enough yet".
  std::size_t consume(std::string_view input);
  std::size_t take_head(std::string_view input);
  std::size_t take_body(std::string_view input);
  std::size_t take_chunks(std::string_view input);
  std::size_t dispatch(const Head& head, std::string_view rest);
  std::size_t receive_events(const Head& head, std::string_view rest);
  template <typename Write>
  std::size_t answer_at_once(const Head& head, std::string_view rest, Write write);
  void keep(std::string_view rest);
  void fill_body();
  bool make_room(std::size_t size);
  void finish_request();
  void go_on();
  [[nodiscard]] bool has_room() const noexcept;

  void submit(Content content, std::string_view content_type, ChargedBytes& attributes, std::string_view body,
              Ending ending);
  void write_told();
  void write_outcome(const Slot& slot, Ending ending);
  void problem(const Problem& problem, Ending ending);
  void page(const Page& page, Ending ending, bool with_body);
  void refuse(int status, std::string_view detail, bool with_body = true);  // and close
  template <typename Write>
  void put(int status, Ending ending, Write write);
  void answered(int status, Ending ending);

  void flush();
  void start_lingering();
  void start_settling();
  void close();
  void drop_request();
  void discard();
  void check_settled();
  [[nodiscard]] bool delivered();
  [[nodiscard]] std::size_t unread();
  [[nodiscard]] int on_the_way();
  [[nodiscard]] bool half_read() const noexcept { return begun_ || request_ != nullptr; }
  [[nodiscard]] bool open() const noexcept { return state_ == State::open; }
  void account();
  void renew_deadline();

  Loop& loop_;
  const int socket_;
  ChargedBytes held_;                 // input that is not used up: part of a head, or what waits for has_room()
  ChargedBytes unsent_;               // answers that the kernel did not take
  AnswerQueue pending_;               // those behind them, from the first that the committer owes
  std::unique_ptr<Request> request_;  // null, but while a body is on its way
  Clock::time_point deadline_{};
  std::size_t skip_ = 0;      // bytes of a body that nobody wants
  std::size_t searched_ = 0;  // of held_, for the end of a head
  std::uint32_t unsent_answers_ = 0;
  Owed owed_;               // as told to the loop
  int was_on_the_way_ = 0;  // when the deadline for unsent answers was set
  State state_ = State::open;
  Waiting waiting_ = Waiting::idle;
  const bool tcp_;
  bool begun_ = false;          // a head is half read
  bool progress_ = true;        // since the deadline was set
  bool ended_ = false;          // the client sends no more
  bool settling_ = false;       // told the loop that a last answer is on its way
  std::uint32_t interest_ = 0;  // as told to the ready set
};

}  // namespace sluiced::http
