// Browsers at the doors, by the bytes that they send: whatever page somebody looks at on the machine of the daemon, it
// moves no dead letter, sends no event and reads nothing, unless its origin was allowed. And what changes something is
// for the owner of a socket alone.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "support/client.h"
#include "support/daemon.h"
#include "support/scrape.h"
#include "support/temp_dir.h"

namespace {

using test::Answer;
using test::Daemon;

// What a browser says of the page that has it send something.
const std::vector<std::string> kOtherPages{
    "Origin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n",
    "Origin: null\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n",
    "Origin: http://127.0.0.1:3000\r\nSec-Fetch-Site: same-site\r\n",
    "Origin: http://evil.example\r\n",  // where the daemon's address is none of a secure context
    "Sec-Fetch-Site: cross-site\r\n",
};

std::string request(std::string_view method, std::string_view target, std::string_view fields,
                    std::string_view host = "127.0.0.1:7071", std::string_view body = {}) {
  return fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\n{}Content-Length: {}\r\n\r\n{}", method, target, host, fields,
                     body.size(), body);
}

// A daemon with three dead letters, on every kind of address.
struct Dead {
  Dead()
      : daemon({"--sink", "null:?refuse=1", "--listen", "127.0.0.1:0", "--listen",
                "unix:" + (dir.path() / "in").string(), "--allow-origin", "https://app.example", "--allow-host",
                "sluice.example"}) {
    CHECK(test::ask_once(daemon.address(), test::post("application/x-ndjson", "1\n2\n3\n")).status == 202);
    CHECK(test::wait_status_number(daemon.admin(), "dead", 3, std::chrono::seconds(10)));
  }
  test::TempDir dir;
  Daemon daemon;
};

}  // namespace

TEST_SUITE("daemon.browsers") {
  TEST_CASE("browsers: no page of another site is answered, posts an event or moves a dead letter, on any listener") {
    Dead dead;
    Daemon& daemon = dead.daemon;
    for (const std::string& page : kOtherPages) {
      INFO(page);
      for (const std::string& admin : {daemon.admin(), daemon.admin_socket()}) {
        INFO(admin);
        for (const char* path : {"/status", "/metrics", "/healthz", "/readyz"}) {
          CHECK(test::ask_once(admin, request("GET", path, page)).status == 403);
        }
        for (const char* path : {"/dead-letter/drop", "/dead-letter/requeue"}) {
          CHECK(test::ask_once(admin, request("POST", path, page)).status == 403);
          CHECK(test::ask_once(admin, request("POST", path, page + "Sluice-Admin: 1\r\n")).status == 403);
          CHECK(test::ask_once(admin, request("OPTIONS", path, page)).status == 403);
        }
      }
      for (const std::string& intake : {daemon.address(0), daemon.address(1)}) {
        INFO(intake);
        // The form that was submitted by itself, and what fetch() may send unasked.
        const Answer answer = test::ask_once(
            intake, request("POST", "/v1/events", page + "Content-Type: text/plain\r\n", "127.0.0.1:7070", "a=b"));
        CHECK(answer.status == 403);
        CHECK(answer.header("content-type") == "application/problem+json");
        CHECK(answer.header("access-control-allow-origin").empty());
        CHECK(test::ask_once(intake, request("GET", "/readyz", page)).status == 403);
      }
    }
    // A WebSocket is a GET that no preflight asks for.
    CHECK(test::ask_once(daemon.admin(), request("GET", "/status",
                                                 "Origin: http://evil.example\r\nConnection: Upgrade\r\n"
                                                 "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"))
              .status == 403);
    CHECK(test::status_number(daemon.admin(), "accepted") == 3);
    CHECK(daemon.stop().report->dead == 3);
    CHECK(test::lines_with(test::text_of(daemon.state_dir() / "dead-letter.ndjson"), "\"id\"") == 3);
  }

  TEST_CASE("browsers: a name that was made to point here reads nothing of the admin, and posts no event") {
    Dead dead;
    Daemon& daemon = dead.daemon;
    // To its browser the page is of the same origin; its GET has no Origin at all.
    const std::string same = "Sec-Fetch-Site: same-origin\r\n";
    for (const std::string& admin : {daemon.admin(), daemon.admin_socket()}) {
      CHECK(test::ask_once(admin, request("GET", "/status", same, "evil.example:7071")).status == 403);
      CHECK(test::ask_once(admin, request("GET", "/status", "", "evil.example")).status == 403);
      CHECK(test::ask_once(admin, request("GET", "/status", "", "sluice.example:7071")).status == 200);
      CHECK(test::ask_once(admin, request("GET", "/status", same, "localhost:7071")).status == 200);
      CHECK(test::ask_once(admin, request("GET", "/status", same, "[::1]:7071")).status == 200);
      CHECK(test::ask_once(admin, "GET /readyz HTTP/1.0\r\n\r\n").status == 200);
    }
    const auto post = [&](const std::string& fields, const std::string& host) {
      return test::ask_once(daemon.address(), request("POST", "/v1/events", fields, host, "1")).status;
    };
    CHECK(post("Origin: http://evil.example:7070\r\n" + same, "evil.example:7070") == 403);
    // A proxy passes on the name that its clients use; they are no pages.
    CHECK(post("", "events.example") == 202);
    // A page of this machine itself, such as one to try things out.
    CHECK(post("Origin: http://localhost:7070\r\n" + same, "localhost:7070") == 202);
    CHECK(post("Origin: http://127.0.0.1:7070\r\n" + same, "127.0.0.1:7070") == 202);
    CHECK(daemon.stop().report->accepted == 6);
  }

  TEST_CASE("browsers: a page of an allowed origin posts events and reads the answers, and that is all it may") {
    Dead dead;
    Daemon& daemon = dead.daemon;
    const std::string page = "Origin: https://app.example\r\nSec-Fetch-Site: cross-site\r\n";
    const Answer asked =
        test::ask_once(daemon.address(), request("OPTIONS", "/v1/events",
                                                 page + "Access-Control-Request-Method: POST\r\n"
                                                        "Access-Control-Request-Headers: content-type\r\n"));
    CHECK(asked.status == 204);
    CHECK(asked.header("access-control-allow-origin") == "https://app.example");
    CHECK(asked.header("access-control-allow-headers") == "*");
    const Answer taken = test::ask_once(daemon.address(), request("POST", "/v1/events", page, "x", "1"));
    CHECK(taken.status == 202);
    CHECK(taken.header("access-control-allow-origin") == "https://app.example");
    for (const std::string& admin : {daemon.admin(), daemon.admin_socket()}) {
      for (const char* path : {"/status", "/metrics"}) {
        const Answer kept = test::ask_once(admin, request("GET", path, page));
        CHECK(kept.status == 403);
        CHECK(kept.header("access-control-allow-origin").empty());
      }
      CHECK(test::ask_once(admin, request("OPTIONS", "/dead-letter/drop",
                                          page + "Access-Control-Request-Method: POST\r\n"
                                                 "Access-Control-Request-Headers: "
                                                 "sluice-admin\r\n"))
                .status == 403);
    }
    CHECK(test::scrape(daemon.admin()).refused("forbidden") == 0);
    CHECK(test::ask_once(daemon.address(), request("POST", "/v1/events", kOtherPages[0], "x", "1")).status == 403);
    CHECK(test::scrape(daemon.admin()).refused("forbidden") == 1);
    CHECK(daemon.stop().report->accepted == 4);
  }

  TEST_CASE("browsers: dead letters are moved by the owner of the admin's socket, and by nobody else") {
    Dead dead;
    Daemon& daemon = dead.daemon;
    const std::string field = "Sluice-Admin: 1\r\n";
    // Any local user's curl, on TCP.
    const Answer by_tcp = test::ask_once(daemon.admin(), request("POST", "/dead-letter/drop", field));
    CHECK(by_tcp.status == 403);
    CHECK(by_tcp.body.find("unix socket") != std::string::npos);
    CHECK(test::ask_once(daemon.address(), request("POST", "/dead-letter/drop", field)).status == 404);

    const std::string path = (daemon.state_dir() / "admin.sock").string();
    CHECK(daemon.admin_socket() == "unix:" + path);
    struct stat file {};
    REQUIRE(::stat(path.c_str(), &file) == 0);
    CHECK((file.st_mode & 07777) == 0600);
    CHECK(test::ask_once(daemon.admin_socket(), request("POST", "/dead-letter/drop", "")).status == 403);
    CHECK(test::status_number(daemon.admin(), "dead") == 3);
    const Answer dropped = test::ask_once(daemon.admin_socket(), request("POST", "/dead-letter/drop", field));
    CHECK(dropped.body == "{\"dropped\":3,\"left\":0}\n");
    CHECK(daemon.stop().code == 0);
    CHECK(::stat(path.c_str(), &file) != 0);
  }

  TEST_CASE("browsers: --admin is given as often as there are addresses; where the usual socket cannot be, it starts") {
    const test::TempDir dir;
    const std::string own = "unix:" + (dir.path() / "own").string();
    {
      Daemon daemon({"--admin", "127.0.0.1:0", "--admin", "[::1]:0", "--admin", own, "--sink", "null:"});
      CHECK(daemon.admin_socket() == own);
      CHECK_FALSE(std::filesystem::exists(daemon.state_dir() / "admin.sock"));
      CHECK(test::ask_once(own, request("POST", "/dead-letter/drop", "Sluice-Admin: 1\r\n")).status == 200);
      CHECK(test::ask_once(own, test::get("/status")).status == 200);
      CHECK(daemon.ready_line().find("admin=127.0.0.1:") != std::string::npos);
      CHECK(daemon.ready_line().find(",[::1]:") != std::string::npos);
    }
    {
      // One that was killed has left its socket.
      const test::Flags flags{"--state-dir", (dir.path() / "state").string(), "--sink", "null:"};
      {
        Daemon killed(flags);
        killed.signal_stop(9);
        CHECK(killed.wait_end().code == 128 + 9);
      }
      Daemon next(flags);
      CHECK(next.admin_socket() == "unix:" + (dir.path() / "state" / "admin.sock").string());
    }
    {
      const auto deep = dir.path() / std::string(120, 'd');
      Daemon daemon({"--state-dir", deep.string(), "--sink", "null:"});
      CHECK(daemon.admin_socket().empty());
      CHECK(daemon.process().errors().find("admin.sock: File name too long") != std::string::npos);
      CHECK(test::ask_once(daemon.admin(), test::get("/readyz")).status == 200);
      CHECK(daemon.stop().code == 0);
    }
    CHECK(test::run_to_end({"--admin", "none", "--admin", own, "--state-dir", "none", "--sink", "null:"}).code == 64);
  }
}
