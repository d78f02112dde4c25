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
#include "http/decoder.h"
#include "http/event_loop.h"
#include "http/intake.h"
#include "http/peers.h"
#include "http/request.h"
#include "http/server.h"
#include "http/slots.h"
#include "http/statistics.h"

namespace sluiced::http {

class IoThread;

// What a read or write that could not be done now says.
[[nodiscard]] inline bool try_later(int error) noexcept {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

// An accepted socket, its listener's kind and its peer.
struct Accepted {
  int fd = -1;
  bool tcp = true;
  std::optional<Peer> peer = {};  // as counted in Shared::peers; nothing: in none
};

class Connection final : public EventLoop::Watcher {
 public:
  // Takes over the socket, which is counted in Shared::connections, and perhaps in Shared::peers.
  Connection(IoThread& loop, const Accepted& accepted) noexcept;
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Each of these is one turn, and may end with the connection forgotten: the caller touches it no more.
  void begin(bool one_too_many);  // the first: waits for requests; of one too many for one that reads a page
  void on_ready(std::uint32_t what) override;
  void on_told();                    // the first of its answers with the committer is there
  void drain();                      // the loop drains; or quiet clients are to go: if idle, ends
  void end_reading();                // what is half read by now stays half read, and who is quiet goes
  void give_up();                    // drops what the client has not read, or not got yet
  void tick(Clock::time_point now);  // ends what makes no progress

  // How much memory it holds for a request for how long without progress, in bytes times seconds; 0: it makes progress.
  [[nodiscard]] double burden(Clock::time_point now) const noexcept;
  // Takes the memory of its request away; the client is told in a turn of its own.
  void lose_request() noexcept;

  // Ends it if its client is idle; false if it is not.
  [[nodiscard]] bool try_let_go();

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
        : content(of),
          content_type(type),
          attributes(std::move(of_event)),
          body(budget),
          undecoded(budget),
          own(budget) {}

    Content content;
    std::string content_type;  // a view would point into what is read next
    ChargedBytes attributes;   // of a CloudEvent in binary mode
    Ending ending;
    std::size_t limit = 0;
    std::size_t expected = 0;           // the length, if not chunked
    std::optional<ChunkReader> chunks;  // if chunked
    std::size_t mark = 0;               // how much there was when the client last got more time
    Clock::time_point marked_at{};      // and when
    Clock::time_point begun_at{};
    ChargedBytes body;

    std::unique_ptr<Decoder> decoder;  // of a body in a coding, else null
    ChargedBytes undecoded;            // what has come and waits for the next turn
    std::size_t received = 0;          // of the body as it is sent
    bool whole = false;                // all of it
    bool paused = false;               // there is something to decode, and it was others' turn

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
  std::size_t dispatch_to(std::string_view path, const Head& head, std::string_view rest);
  std::size_t receive_events(const Head& head, std::string_view rest);
  template <typename Write>
  std::size_t answer_at_once(const Head& head, std::string_view rest, Write write);
  void take_encoded(std::string_view piece, bool whole);
  [[nodiscard]] std::size_t decode(std::string_view input);
  void go_on_decoding();
  void refuse_body(DecodeStep::Fault fault);
  void refuse_request(int status, std::string_view detail);
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
  void allowed(std::string_view fields, Ending ending);
  void refuse(int status, std::string_view detail, bool with_body = true);  // and close
  void refuse_one_too_many();
  void refuse_lost();
  template <typename Write>
  void put(int status, Ending ending, Write write);
  void answered(int status, Ending ending);

  void flush();
  void start_lingering();
  void start_settling();
  void watch_settling();
  void close();
  void drop_request();
  void discard();
  void check_settled();
  [[nodiscard]] bool delivered();
  [[nodiscard]] bool may_be_about_to_speak() const noexcept;
  [[nodiscard]] std::size_t unread() const noexcept;
  [[nodiscard]] int on_the_way();
  [[nodiscard]] bool half_read() const noexcept { return begun_ || request_ != nullptr; }
  [[nodiscard]] bool paused() const noexcept { return request_ != nullptr && request_->paused; }
  [[nodiscard]] bool open() const noexcept { return state_ == State::open; }
  void account();
  void renew_deadline();

  IoThread& loop_;
  const int socket_;
  ChargedBytes held_;                 // input that is not used up: part of a head, or what waits for has_room()
  ChargedBytes unsent_;               // answers that the kernel did not take
  AnswerQueue pending_;               // those behind them, from the first that the committer owes
  std::unique_ptr<Request> request_;  // null, but while a body is on its way
  Clock::time_point deadline_{};
  const Clock::time_point accepted_at_;
  Clock::time_point moved_at_;  // to the end of its loop's list
  std::size_t skip_ = 0;        // bytes of a body that nobody wants
  std::size_t searched_ = 0;    // of held_, for the end of a head
  std::uint32_t unsent_answers_ = 0;
  std::uint32_t origin_ = 0;  // of the page whose request is at hand, as Ending has it
  Owed owed_;                 // as told to the loop
  int was_on_the_way_ = 0;    // when the deadline for unsent answers was set
  State state_ = State::open;
  Waiting waiting_ = Waiting::idle;
  const bool tcp_;
  bool one_too_many_ = false;
  bool lost_ = false;           // its request was
  bool begun_ = false;          // a head is half read
  bool progress_ = true;        // since the deadline was set
  bool ended_ = false;          // the client sends no more
  bool spoken_ = false;         // the client has sent something
  bool settling_ = false;       // told the loop that a last answer is on its way
  std::uint32_t interest_ = 0;  // as told to the ready set
  const std::optional<Peer> peer_;
};

}  // namespace sluiced::http
