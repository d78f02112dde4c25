// The HTTP room's front: a server for the intake and one for admin, each a few listeners and the threads that serve
// them. Bound and serving once constructed; any thread may call it. It refuses what DESIGN's limits refuse, with an
// answer.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/options.h"
#include "sluice/tracker.h"

namespace sluiced::http {

using Clock = std::chrono::steady_clock;

// Where to listen: HOST:PORT, [::1]:PORT or unix:PATH.
struct Address {
  std::string host;  // name or number, without brackets; empty for a unix socket
  std::uint16_t port = 0;
  std::string path;  // of a unix socket; empty for TCP
  // Of a unix socket's file, whatever the umask.
  unsigned mode = 0600;
  std::string group = {};  // its name or number; empty: the one that the file gets by itself
  bool optional = false;   // if it cannot be had, that is logged, and the others serve
};

// Throws sluice::StartError (usage) with one line that says what is wrong and what is allowed.
[[nodiscard]] Address parse_address(std::string_view text);

// What a GET of a page is answered with. Called on a server's thread; must not block.
struct Page {
  int status = 200;
  std::string content_type;
  std::string body;
};
using Pages = std::map<std::string, std::function<Page()>, std::less<>>;

// What a POST to an action is answered with; the target is the client's, with its query, the body is not looked at.
// Only on a unix socket, which is protected by its file's mode, and with `Sluice-Admin: 1`; else the answer is 403.
// Called on a server's thread, which serves nobody else meanwhile.
using Actions = std::map<std::string, std::function<Page(std::string_view target)>, std::less<>>;

// Takes the events of a request: Tracker::track with a receipt, and its contract. Only on `accepted` will the receipt
// be called, once; before this returns on this thread, or whenever it likes on any other.
using Submit = std::function<sluice::Submission(std::span<const sluice::Event> events, const sluice::Receipt& receipt)>;

struct Config {
  std::vector<Address> listen;
  Pages pages;                       // path -> GET handler: /healthz, /readyz, /status ...
  Actions actions = {};              // path -> POST handler: /dead-letter/requeue ...
  Submit submit = {};                // takes POST /v1/events; none: an admin server. What it calls outlives the server.
  std::string thread_name = "http";  // threads are NAME-0 … (at most 15 bytes)
  std::size_t threads = 1;
  std::size_t max_event_bytes = 256U << 10U;
  std::size_t max_request_bytes = std::size_t{8} << 20U;
  std::size_t receive_bytes = std::size_t{16} << 20U;  // for all that is being received, and answers owed or unsent
  // With these reached the one that is idle for longest goes for a newcomer; where none is idle, a newcomer may read a
  // page, or is answered 503.
  std::size_t max_connections = 1024;
  std::size_t max_connections_per_client = 0;  // by IPv4 address or IPv6 network of 64 bits; 0: no limit
  // No socket is accepted while no descriptor below this is free: those above are for the rest of the process.
  std::size_t max_descriptors = std::numeric_limits<std::size_t>::max();
  std::chrono::nanoseconds request_timeout = std::chrono::seconds{10};  // without progress
  std::chrono::nanoseconds idle_timeout = std::chrono::seconds{75};     // between requests, and before the first
  // Origins of web pages that may send requests, besides this machine's own, as browsers write them:
  // "https://app.example".
  std::vector<std::string> allowed_origins = {};  // at most kMaxOrigin bytes each
  bool checks_host = false;                       // the Host is a number, localhost or one of the next
  std::vector<std::string> allowed_hosts = {};    // without ports
  sluice::LogHook log;
};

// The scheme, a name of DNS (253 bytes at most) and a port.
inline constexpr std::size_t kMaxOrigin = 280;

// Why events were refused before the tracker saw them.
enum class Refused : std::uint8_t {
  malformed,    // no HTTP, no JSON, or no event at all
  unsupported,  // in an encoding, a type or a version that is not taken
  too_large,
  timeout,      // the request came too slowly
  full,         // no room to receive it
  closed,       // the stop has begun
  forbidden,    // a web page of another site asked
  connections,  // --max-connections were there already, or as many of that client as there may be
};
inline constexpr std::size_t kRefused = static_cast<std::size_t>(Refused::connections) + 1;  // how many there are
[[nodiscard]] std::string_view to_string(Refused why) noexcept;

struct Counters {
  std::size_t connections = 0;            // open now
  std::size_t answers_owed = 0;           // requests in hand or with the committer, answers the kernel has not yet
  std::size_t with_committer = 0;         // of those, to requests that are with it
  std::uint64_t wake_ups = 0;             // of its threads, by receipts that came late
  std::map<int, std::uint64_t> answered;  // by status, since the start
  // By Refused, since the start: an event each, since nobody has counted what was in them.
  std::array<std::uint64_t, kRefused> refused{};
};

class Server {
 public:
  // Throws StartError: in_use for an address that is taken, unavailable for one that is not there yet, unusable for one
  // that cannot be listened on, or if there is no descriptor for a single connection.
  explicit Server(Config config);
  // Closes what is still open, without lingering, and joins its threads. Never blocks on a client. Every receipt of
  // what was accepted must have come by then: a tracker that is shut down calls no more. Where that cannot be had (a
  // committer that hangs on a dead disk) the process has to exit without this.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // As bound, in the order of Config::listen, a name's addresses in the resolver's: "127.0.0.1:34127",
  // "unix:/run/x.sock" (port 0 resolved).
  [[nodiscard]] const std::vector<std::string>& addresses() const noexcept;

  // Begins the stop and returns at once: takes what waits in the listen queues, then stops listening; finishes requests
  // being read, but gives them no longer than until `reading`; answers new ones with 503 and `Connection: close`,
  // behind those that the committer still owes. Quiet connections stay open for that until `reading` or close_quiet().
  // Closes linger (see README). Idempotent. `drained`: called on a server's thread whenever wait_drained() would say
  // true; must not block or throw, outlives the server.
  void drain(Clock::time_point reading, std::function<void()> drained = {});

  // Of a drain: closes the connections of clients that say nothing, once what they have sent by now is answered.
  // Returns at once; wait_drained() waits for it.
  void close_quiet();

  // Waits until no request is in hand and no answer is owed, or the deadline. True if so. A drained server stays so,
  // but for 503s on their way to quiet clients that have spoken.
  [[nodiscard]] bool wait_drained(Clock::time_point deadline);

  // Gives up clients that have not read their answers, and those whose answers the committer still owes (what becomes
  // of their events is the tracker's as before): they are owed nothing any more.
  void give_up();

  [[nodiscard]] Counters counters() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluiced::http
