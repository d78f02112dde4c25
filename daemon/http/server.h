// The API of this room: an HTTP server with listeners and io threads; the daemon has one for the intake and one for
// admin. Serves once constructed; any thread may call it. It refuses requests beyond Config's limits, with an answer.
#pragma once

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

#include "http/address.h"
#include "http/counters.h"
#include "sluice/options.h"
#include "sluice/tracker.h"

namespace sluiced::http {

using Clock = std::chrono::steady_clock;

// The answer to a GET. A page's function is called on an io thread; it must not block.
struct Page {
  int status = 200;
  std::string content_type;
  std::string body;
};
using Pages = std::map<std::string, std::function<Page()>, std::less<>>;

// The answer to a POST to an action; `target` is the client's, with its query, the body is ignored. Only on a unix
// socket, which its file's mode protects, and with `Sluice-Admin: 1`; else the answer is 403. Called on an io thread,
// which serves no other client meanwhile.
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
  std::size_t receive_bytes = std::size_t{16} << 20U;  // for bodies being received, and answers owed or unsent
  // At the limit the connection that has been idle for longest is closed for a new one; if none is idle, a new one may
  // read a page, or is answered 503.
  std::size_t max_connections = 1024;
  std::size_t max_connections_per_client = 0;  // by IPv4 address or IPv6 network of 64 bits; 0: no limit
  // Sockets are accepted while a descriptor below this is free; the others are for the rest of the process.
  std::size_t max_descriptors = std::numeric_limits<std::size_t>::max();
  std::chrono::nanoseconds request_timeout = std::chrono::seconds{10};  // without progress
  std::chrono::nanoseconds idle_timeout = std::chrono::seconds{75};     // between requests, and before the first
  // Origins of web pages that may send requests, besides this machine's own, as browsers write them:
  // "https://app.example".
  std::vector<std::string> allowed_origins = {};  // at most kMaxOrigin bytes each
  bool checks_host = false;                       // the Host must be a number, localhost or one of these:
  std::vector<std::string> allowed_hosts = {};    // without ports
  sluice::LogHook log;
};

// The scheme, a name of DNS (253 bytes at most) and a port.
inline constexpr std::size_t kMaxOrigin = 280;

class Server {
 public:
  // Throws StartError: in_use for an address in use, unavailable for one that does not exist yet, unusable for one that
  // cannot be listened on, or if no descriptor is free for a single connection.
  explicit Server(Config config);
  // Closes what is still open, without lingering, and joins its threads. Never blocks on a client. Every accepted
  // request must be completed by then: a tracker that is shut down has done so. If that cannot be waited for (a
  // committer that hangs on a dead disk), the process must exit without this.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // As bound, in the order of Config::listen, a name's addresses in the resolver's: "127.0.0.1:34127",
  // "unix:/run/x.sock" (port 0 resolved).
  [[nodiscard]] const std::vector<std::string>& addresses() const noexcept;

  // Begins the drain and returns at once. Accepts the connections in the listen queues, then stops listening; receives
  // requests that have begun, until `reading` at most; answers new ones with 503 and `Connection: close`, behind
  // answers that the committer still owes. Quiet connections stay open for that until `reading` or close_quiet().
  // Closes linger (see README). Idempotent. `drained`: called on an io thread whenever wait_drained() becomes true;
  // must not block or throw, outlives the server.
  void drain(Clock::time_point reading, std::function<void()> drained = {});

  // Of a drain: closes the connections of clients that send nothing, once the bytes that they have sent by now are
  // answered. Returns at once; wait_drained() waits for it.
  void close_quiet();

  // Waits until no request is half read and no answer is owed. False: the deadline came first. It stays true, but for
  // 503s to quiet clients that send a request.
  [[nodiscard]] bool wait_drained(Clock::time_point deadline);

  // Closes the connections of clients that have not read their answers, or whose answers the committer still owes
  // (their events stay with the tracker).
  void give_up();

  [[nodiscard]] Counters counters() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluiced::http
