// The command line: every flag's value in the right place, and one line for everything else.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <initializer_list>
#include <limits>
#include <sstream>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "options/options.h"
#include "sluice/host.h"
#include "sluice/version.h"
#include "text/quantity.h"

namespace {

using namespace std::chrono_literals;
using sluiced::options::Environment;
using sluiced::options::Exit;
using sluiced::options::Options;

const Environment kWorld{.state_directory = {}, .xdg_state_home = {}, .home = "/home/ann", .cpus = 3};

std::variant<Options, Exit> parse(std::initializer_list<const char*> args, const Environment& environment = kWorld) {
  const std::vector<const char*> words(args);
  return sluiced::options::parse(words, environment);
}

Options accept(std::initializer_list<const char*> args, const Environment& environment = kWorld) {
  const auto result = parse(args, environment);
  if (const auto* exit = std::get_if<Exit>(&result)) FAIL(exit->text);
  return std::get<Options>(result);
}

// The code and the line of a refusal, which must be one line on stderr.
struct Refusal {
  int code;
  std::string line;
};
Refusal refuse(std::initializer_list<const char*> args, const Environment& environment = kWorld) {
  const auto result = parse(args, environment);
  const auto* exit = std::get_if<Exit>(&result);
  if (exit == nullptr) {
    for (const char* arg : args) MESSAGE(arg);
    FAIL("was accepted");
    return {};
  }
  CHECK(exit->on_stderr);
  CHECK(std::count(exit->text.begin(), exit->text.end(), '\n') == 1);
  CHECK(exit->text.ends_with('\n'));
  CHECK(exit->text.starts_with("sluiced: "));
  return {exit->code, exit->text.substr(0, exit->text.size() - 1)};
}

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

}  // namespace

TEST_CASE("quantity: durations are 0 or an integer with a unit") {
  using sluice::parse_duration;
  CHECK(parse_duration("0") == 0ns);
  CHECK(parse_duration("0s") == 0ns);
  CHECK(parse_duration("7us") == 7us);
  CHECK(parse_duration("7ms") == 7ms);
  CHECK(parse_duration("7s") == 7s);
  CHECK(parse_duration("7min") == 7min);
  CHECK(parse_duration("7h") == 7h);
  for (const char* text : {"", "7", "00", "s", " 7s", "7 s", "7s ", "-7s", "+7s", "7.5s", "7S", "7ns", "7d", "7m",
                           "1e3s", "7sms", "2562048h", "99999999999999999999s", "18446744073709551615h"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_duration(text));
  }
}

TEST_CASE("quantity: sizes are integers, bare or with a binary unit") {
  using sluice::parse_size;
  CHECK(parse_size("0") == 0U);
  CHECK(parse_size("7") == 7U);
  CHECK(parse_size("7B") == 7U);
  CHECK(parse_size("7KiB") == 7U << 10U);
  CHECK(parse_size("7MiB") == 7U << 20U);
  CHECK(parse_size("7GiB") == std::size_t{7} << 30U);
  CHECK(parse_size("18446744073709551615") == std::numeric_limits<std::size_t>::max());
  for (const char* text : {"", "KiB", "7K", "7kB", "7KB", "7kib", "7TiB", "7 MiB", "-7", "+7", "0x7", "7.5MiB",
                           "18446744073709551616", "17179869184GiB"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_size(text));
  }
}

TEST_CASE("quantity: what is said of a value is read back as that value") {
  using sluice::duration_text, sluice::parse_duration, sluice::parse_size, sluice::size_text;
  CHECK(duration_text(0ns) == "0");
  CHECK(duration_text(24h) == "24h");
  CHECK(duration_text(90s) == "90s");
  CHECK(duration_text(1500us) == "1500us");
  CHECK(size_text(0) == "0");
  CHECK(size_text(1000) == "1000");
  CHECK(size_text(64U << 10U) == "64KiB");
  for (const std::chrono::nanoseconds value : std::initializer_list<std::chrono::nanoseconds>{1us, 10ms, 1h, 61min}) {
    CHECK(parse_duration(duration_text(value)) == value);
  }
  for (const std::size_t value : {std::size_t{1}, std::size_t{1025}, std::size_t{3} << 20U, std::size_t{5} << 40U}) {
    CHECK(parse_size(size_text(value)) == value);
  }
}

TEST_CASE("options: without flags everything is as the help says") {
  const Options options = accept({});
  CHECK(options.listen == std::vector<std::string>{"127.0.0.1:7070"});
  CHECK(options.admin == std::vector<std::string>{"127.0.0.1:7071"});
  CHECK(options.admin_socket == "/home/ann/.local/state/sluice/admin.sock");
  CHECK(options.allow_host.empty());
  CHECK(options.allow_origin.empty());
  CHECK(options.state_dir == "/home/ann/.local/state/sluice");
  CHECK(options.sink == "sqlite:/home/ann/.local/state/sluice/events.db");
  CHECK(options.workers == 3);
  CHECK(options.io_threads == 1);
  CHECK(options.queue_events == 65536);
  CHECK(options.queue_bytes == 64U << 20U);
  CHECK(options.receive_bytes() == 16U << 20U);
  CHECK(options.window_bytes() == 48U << 20U);
  CHECK(options.ack == sluice::Ack::synced);
  CHECK(options.overflow == sluice::Overflow::disk);
  CHECK(options.journal_bytes == 1U << 30U);
  CHECK(options.drain_timeout == 5s);
  CHECK(options.retry_limit == 0);
  CHECK_FALSE(options.check_config);
}

TEST_CASE("options: every flag lands in its member") {
  const Options options = accept({"--listen",
                                  "[::1]:0",
                                  "-l",
                                  "unix:/run/a,b.sock",
                                  "--socket-mode",
                                  "0600",
                                  "--socket-group",
                                  "producers",
                                  "--admin=none",
                                  "--allow-host",
                                  "Sluice.Example",
                                  "--allow-host",
                                  "other",
                                  "--allow-origin",
                                  "https://App.example:443",
                                  "--allow-origin",
                                  "http://app.example:8080",
                                  "--sink",
                                  "null:",
                                  "--workers=7",
                                  "--io-threads",
                                  "2",
                                  "--queue-events",
                                  "1000",
                                  "--queue-bytes",
                                  "4MiB",
                                  "--overflow",
                                  "reject",
                                  "--ack",
                                  "queued",
                                  "--state-dir",
                                  "/tmp/some,where",
                                  "--drain-timeout",
                                  "1min",
                                  "--unready-delay",
                                  "3s",
                                  "--batch-events",
                                  "1",
                                  "--batch-linger",
                                  "2ms",
                                  "--retry-min",
                                  "1s",
                                  "--retry-max",
                                  "1h",
                                  "--retry-limit",
                                  "5",
                                  "--max-event-bytes",
                                  "1KiB",
                                  "--max-request-bytes",
                                  "64KiB",
                                  "--max-connections",
                                  "17",
                                  "--max-connections-per-client",
                                  "5",
                                  "--request-timeout",
                                  "10ms",
                                  "--idle-timeout",
                                  "1h",
                                  "--log-level",
                                  "debug",
                                  "--log-format",
                                  "json",
                                  "--check-config"});
  CHECK(options.listen == std::vector<std::string>{"[::1]:0", "unix:/run/a,b.sock"});
  CHECK(options.socket_mode == 0600);
  CHECK(options.socket_group == "producers");
  CHECK(options.admin.empty());
  CHECK(options.admin_socket.empty());
  CHECK(options.allow_host == std::vector<std::string>{"sluice.example", "other"});
  CHECK(options.allow_origin == std::vector<std::string>{"https://app.example", "http://app.example:8080"});
  CHECK(options.sink == "null:");
  CHECK(options.workers == 7);
  CHECK(options.io_threads == 2);
  CHECK(options.queue_events == 1000);
  CHECK(options.queue_bytes == 4U << 20U);
  CHECK(options.state_dir == "/tmp/some,where");
  CHECK(options.drain_timeout == 1min);
  CHECK(options.unready_delay == 3s);
  CHECK(options.batch_events == 1);
  CHECK(options.batch_linger == 2ms);
  CHECK(options.retry_min == 1s);
  CHECK(options.retry_max == 1h);
  CHECK(options.retry_limit == 5);
  CHECK(options.max_event_bytes == 1024);
  CHECK(options.max_request_bytes == 64U << 10U);
  CHECK(options.max_connections == 17);
  CHECK(options.max_connections_per_client == 5);
  CHECK(options.request_timeout == 10ms);
  CHECK(options.idle_timeout == 1h);
  CHECK(options.log_level == sluice::LogLevel::debug);
  CHECK(options.log_format == sluiced::options::LogFormat::json);
  CHECK(options.check_config);
}

TEST_CASE("options: the admin has a socket of its own where none is named, in the runtime or the state directory") {
  const Environment service{.state_directory = "/var/lib/s",
                            .xdg_state_home = {},
                            .home = {},
                            .cpus = 1,
                            .runtime_directory = "/run/s:/run/t"};
  CHECK(accept({}, service).admin_socket == "/run/s/admin.sock");
  const Options by_tcp = accept({"--admin", "[::1]:1", "--admin=10.0.0.1:2", "--state-dir", "/d"});
  CHECK(by_tcp.admin == std::vector<std::string>{"[::1]:1", "10.0.0.1:2"});
  CHECK(by_tcp.admin_socket == "/d/admin.sock");
  CHECK(accept({"--admin", "unix:/x"}, service).admin_socket.empty());
  CHECK(accept({"--admin", "none"}, service).admin_socket.empty());
  CHECK(accept({"--state-dir", "none", "--sink", "null:"}).admin_socket.empty());
  CHECK(accept({"--state-dir", "none", "--sink", "null:"}, service).admin_socket == "/run/s/admin.sock");
  CHECK(refuse({"--admin", "none", "--admin", "127.0.0.1:1"}).code == 64);
  CHECK(refuse({"--admin", "127.0.0.1:1", "--admin", "none"}).code == 64);
}

TEST_CASE("options: an origin is what a browser sends, a host is a name") {
  for (const char* value : {"https://a", "http://a.b-c.example:1", "http://[::1]:8080", "chrome-extension://abc"}) {
    CAPTURE(value);
    CHECK(accept({"--allow-origin", value}).allow_origin.front() == value);
  }
  for (const char* value : {"", "*", "null", "app.example", "https://", "https://a/", "https://a/x",
                            "https://a:", "https://a:x", "https://a b", "https://a\r\nX: y", "://a", "http://[::1"}) {
    CAPTURE(value);
    CHECK(refuse({"--allow-origin", value}).code == 64);
  }
  const std::string long_one = "https://" + std::string(300, 'a');
  CHECK(refuse({"--allow-origin", long_one.c_str()}).code == 64);
  for (const char* value : {"", "*", "a:1", "a b", "a/"}) {
    CAPTURE(value);
    CHECK(refuse({"--allow-host", value}).code == 64);
  }
}

TEST_CASE("options: a unix socket is open to all users, or to the group that is named, or as its mode says") {
  CHECK(accept({}).socket_mode == 0666);
  CHECK(accept({"--socket-group", "producers"}).socket_mode == 0660);
  CHECK(accept({"--socket-group", "producers", "--socket-mode", "666"}).socket_mode == 0666);
  CHECK(accept({"--socket-mode", "0000"}).socket_mode == 0);
  for (const char* mode : {"", "6", "66", "0866", "1777", "07777", "rw-", "+660", "0x1"}) {
    CAPTURE(mode);
    CHECK(refuse({"--socket-mode", mode}).code == 64);
  }
  CHECK(refuse({"--socket-group", ""}).code == 64);
}

TEST_CASE("options: letters take their value apart or attached") {
  const Options options = accept({"-w", "2", "-t1s", "-q500", "-d", "none", "-s", "stdout:", "-a", "none"});
  CHECK(options.workers == 2);
  CHECK(options.drain_timeout == 1s);
  CHECK(options.queue_events == 500);
  CHECK_FALSE(options.state_dir);
  CHECK(options.sink == "stdout:");
}

TEST_CASE("options: a wrong value is named with its flag and what is allowed, and exits with 64") {
  for (const char* value :
       {"7x", "-1", " 7", "7 ", "+7", "0x7", "", "0", "1025", "seven", "7.0", "7,8", "18446744073709551617"}) {
    CAPTURE(value);
    const Refusal refusal = refuse({"--workers", value});
    CHECK(refusal.code == 64);
    CHECK(refusal.line.starts_with("sluiced: --workers "));
    CHECK(refusal.line.ends_with(": an integer from 1 to 1024"));
  }
  CHECK(refuse({"--workers", "7x"}).line == "sluiced: --workers 7x: an integer from 1 to 1024");
  CHECK(refuse({"-w", "7x"}).line == "sluiced: --workers 7x: an integer from 1 to 1024");
  CHECK(refuse({"--workers="}).line == "sluiced: --workers '': an integer from 1 to 1024");
  CHECK(refuse({"--workers", "a\nb"}).line == "sluiced: --workers a?b: an integer from 1 to 1024");
  CHECK(refuse({"-t", "5"}).line ==
        "sluiced: --drain-timeout 5: a duration from 0 to 24h: an integer with us ms s min h");
  CHECK(refuse({"--queue-bytes", "1KB"}).line ==
        "sluiced: --queue-bytes 1KB: a size from 64KiB to 1024GiB: an integer, bare or with B KiB MiB GiB");
  CHECK(refuse({"--log-level", "loud"}).line == "sluiced: --log-level loud: one of error, warn, info, debug");
}

TEST_CASE("options: both ends of every range are in, what lies beyond is out") {
  struct Range {
    const char* flag;
    std::vector<const char*> in, out;
  };
  const std::vector<Range> ranges{
      {"--workers", {"1", "1024"}, {"0", "1025"}},
      {"--io-threads", {"1", "64"}, {"0", "65"}},
      {"--queue-events", {"1", "1073741824"}, {"0", "1073741825"}},
      {"--queue-bytes", {"64KiB", "1024GiB"}, {"65535", "1025GiB"}},
      {"--batch-events", {"1", "65536"}, {"0", "65537"}},
      {"--batch-linger", {"0", "1min"}, {"61s", "1"}},
      {"--drain-timeout", {"0", "24h"}, {"25h", "-1s"}},
      {"--unready-delay", {"0", "1h"}, {"2h", "-1s"}},
      {"--retry-min", {"1ms", "30s"}, {"0", "999us", "25h"}},
      {"--retry-max", {"100ms", "24h"}, {"0", "25h"}},
      {"--retry-limit", {"0", "4294967295"}, {"4294967296", "-1"}},
      {"--max-event-bytes", {"1", "1GiB"}, {"0", "2GiB"}},
      {"--max-request-bytes", {"1", "1GiB"}, {"0", "2GiB"}},
      {"--max-connections", {"1", "1000000"}, {"0", "1000001"}},
      {"--max-connections-per-client", {"0", "1000000"}, {"1000001", "-1"}},
      {"--request-timeout", {"10ms", "24h"}, {"9ms", "0", "25h"}},
      {"--idle-timeout", {"10ms", "24h"}, {"9ms", "0", "25h"}},
  };
  for (const Range& range : ranges) {
    CAPTURE(range.flag);
    for (const char* value : range.in) accept({range.flag, value});
    for (const char* value : range.out) CHECK(refuse({range.flag, value}).code == 64);
  }
}

TEST_CASE("options: empty values are refused by every flag that takes one") {
  for (const char* flag : {"--listen=",
                           "--admin=",
                           "--allow-host=",
                           "--allow-origin=",
                           "--sink=",
                           "--workers=",
                           "--io-threads=",
                           "--queue-events=",
                           "--queue-bytes=",
                           "--overflow=",
                           "--ack=",
                           "--state-dir=",
                           "--journal-bytes=",
                           "--drain-timeout=",
                           "--unready-delay=",
                           "--batch-events=",
                           "--batch-linger=",
                           "--retry-min=",
                           "--retry-max=",
                           "--retry-limit=",
                           "--max-event-bytes=",
                           "--max-request-bytes=",
                           "--max-connections=",
                           "--max-connections-per-client=",
                           "--request-timeout=",
                           "--idle-timeout=",
                           "--log-level=",
                           "--log-format="}) {
    CAPTURE(flag);
    CHECK(refuse({flag}).code == 64);
  }
}

TEST_CASE("options: words that are no flags of ours are refused by name") {
  CHECK(refuse({"--frobnicate"}).line == "sluiced: --frobnicate: no such flag; allowed: flags that --help lists");
  CHECK(refuse({"--frobnicate=7"}).code == 64);
  CHECK(refuse({"--worker", "7"}).code == 64);
  CHECK(refuse({"--Workers", "7"}).code == 64);
  CHECK(refuse({"-x"}).code == 64);
  CHECK(refuse({"-w=7"}).code == 64);
  CHECK(refuse({"---workers", "7"}).code == 64);
  CHECK(refuse({"events.db"}).line == "sluiced: events.db: belongs to no flag; allowed: flags that --help lists");
  CHECK(refuse({"--workers", "7", "8"}).code == 64);
  CHECK(refuse({""}).line == "sluiced: '': belongs to no flag; allowed: flags that --help lists");
  CHECK(refuse({"-"}).code == 64);
  CHECK(refuse({"--", "x"}).code == 64);
  CHECK(refuse({"--check-config=yes"}).code == 64);
  CHECK(refuse({"--check-config", "yes"}).code == 64);
}

TEST_CASE("options: a last flag without its value is refused") {
  CHECK(refuse({"--workers"}).line == "sluiced: --workers: a value is missing; allowed: see --help");
  CHECK(refuse({"-w"}).code == 64);
  CHECK(refuse({"--sink", "--workers"}).code == 64);
}

TEST_CASE("options: a flag given twice is refused, but for --listen") {
  CHECK(refuse({"-w", "7", "--workers", "8"}).line == "sluiced: --workers 8: given before as 7; allowed: once");
  CHECK(refuse({"-t", "1s", "-t", "1s"}).code == 64);
  CHECK(accept({"-l", "a:1", "-l", "a:2", "--listen=a:3"}).listen == std::vector<std::string>{"a:1", "a:2", "a:3"});
}

TEST_CASE(
    "options: what needs a state directory is refused by name without one, with 78; a word that does not exist with "
    "64") {
  const Refusal synced = refuse({"--ack", "synced", "--state-dir", "none", "--sink", "null:"});
  CHECK(synced.code == 78);
  CHECK(synced.line == "sluiced: --ack synced: needs a state directory; with --state-dir none: queued");
  CHECK(refuse({"--ack", "written", "--state-dir", "none", "--sink", "null:"}).code == 78);
  const Options in_memory = accept({"--state-dir", "none", "--sink", "null:"});
  CHECK(in_memory.ack == sluice::Ack::queued);
  CHECK(in_memory.overflow == sluice::Overflow::reject);
  CHECK(refuse({"--ack", "maybe"}).line == "sluiced: --ack maybe: one of queued, written, synced");
  CHECK(refuse({"--ack", "maybe"}).code == 64);
  const Refusal disk = refuse({"--overflow", "disk", "--state-dir", "none", "--sink", "null:"});
  CHECK(disk.code == 78);
  CHECK(disk.line == "sluiced: --overflow disk: needs a state directory; with --state-dir none: reject");
  CHECK(refuse({"--overflow", "tape"}).code == 64);
  CHECK(accept({"--journal-bytes", "8GiB"}).journal_bytes == std::uint64_t{8} << 30U);
  CHECK(refuse({"--journal-bytes", "1023KiB"}).code == 64);
  CHECK(refuse({"--journal-bytes", "1GB"}).code == 64);
}

TEST_CASE("options: a wrong flag is said before one that is merely of no use") {
  CHECK(refuse({"--state-dir", "none", "--sink", "null:", "--ack", "synced", "--workers", "0"}).code == 64);
  CHECK(refuse({"--state-dir", "none", "--sink", "null:", "--ack", "synced", "--frobnicate"}).code == 64);
  CHECK(refuse({"--state-dir", "none", "--sink", "null:", "--ack", "synced", "--overflow", "disk"})
            .line.starts_with("sluiced: --ack "));
}

TEST_CASE("options: the waits between retries may not cross") {
  CHECK(refuse({"--retry-min", "10s", "--retry-max", "5s"}).line ==
        "sluiced: --retry-min 10s: a duration of at most --retry-max, 5s");
  CHECK(refuse({"--retry-min", "1min"}).line == "sluiced: --retry-min 1min: a duration of at most --retry-max, 30s");
  CHECK(refuse({"--retry-max", "50ms"}).line == "sluiced: --retry-max 50ms: a duration of at least --retry-min, 100ms");
  CHECK(accept({"--retry-min", "5s", "--retry-max", "5s"}).retry_min == 5s);
}

TEST_CASE("options: where open files are few, clients get what the journal leaves, and the log is told") {
  Environment world = kWorld;
  world.descriptors = 20'000;
  CHECK(accept({}, world).intake_descriptors > 19'000);
  CHECK(accept({}, world).remark.empty());

  world.descriptors = 1024;
  const Options few = accept({"--workers", "2"}, world);
  CHECK(few.max_connections == 1024);
  CHECK(few.admin_descriptors <= 1024 - sluice::descriptors_of_journal(few.journal_bytes));
  CHECK(few.intake_descriptors < few.admin_descriptors);
  CHECK(few.intake_descriptors > 900);
  CHECK(few.remark ==
        "open files are limited to 1024 (ulimit -n), too few for --max-connections 1024: the last ones wait");
  CHECK(accept({"--max-connections", "100"}, world).remark.empty());
  // A larger journal leaves less.
  CHECK(accept({"--workers", "2", "--journal-bytes", "8GiB"}, world).intake_descriptors < few.intake_descriptors);
  // Without one they are nearly all for clients.
  CHECK(accept({"--workers", "2", "--state-dir", "none", "--sink", "null:"}, world).intake_descriptors > 1000);
}

TEST_CASE("options: a journal that may need more open files than there are runs, and the log is told both numbers") {
  Environment world = kWorld;
  world.descriptors = 1024;
  const Options large = accept({"--workers", "2", "--journal-bytes", "100GiB"}, world);
  CHECK(large.intake_descriptors < 64);
  CHECK(large.intake_descriptors < large.admin_descriptors);
  CHECK(contains(large.remark, "of 1024 open files"));
  CHECK(contains(large.remark, "--journal-bytes 100GiB"));
  CHECK(contains(large.remark, "ulimit -n"));
  // It would be too much: a segment of 64 MiB has two files.
  CHECK(sluice::descriptors_of_journal(std::uint64_t{100} << 30U) >= 2 * 100 * 1024 / 64);
  world.descriptors = 8192;
  CHECK(accept({"--journal-bytes", "100GiB"}, world).remark.empty());
  // With very few there is something for everybody.
  world.descriptors = 64;
  const Options least = accept({"--workers", "1"}, world);
  CHECK(least.intake_descriptors >= 32);
  CHECK(least.admin_descriptors > least.intake_descriptors);
  CHECK(least.admin_descriptors < 64);
}

TEST_CASE("options: the state directory is the first place that the environment names") {
  CHECK(accept({}, {"/var/lib/sluiced", "/xdg", "/home/ann", 1}).state_dir == "/var/lib/sluiced");
  CHECK(accept({}, {"/var/lib/a:/var/lib/b", "", "", 1}).state_dir == "/var/lib/a");
  CHECK(accept({}, {"", "/xdg", "/home/ann", 1}).state_dir == "/xdg/sluice");
  CHECK(accept({}, {"", "not/absolute", "/home/ann", 1}).state_dir == "/home/ann/.local/state/sluice");
  CHECK(accept({"-d", "here"}, {"/var/lib/sluiced", "", "", 1}).state_dir == "here");
  CHECK(accept({"-d", "here"}).sink == "sqlite:here/events.db");
  const Refusal nowhere = refuse({}, {"", "", "", 1});
  CHECK(nowhere.code == 78);
  CHECK(contains(nowhere.line, "--state-dir"));
  CHECK(accept({"-d", "none", "-s", "null:"}, {"", "", "", 1}).state_dir.has_value() == false);
}

TEST_CASE("options: without a state directory a sink must be named") {
  const Refusal refusal = refuse({"--state-dir", "none"});
  CHECK(refusal.code == 78);
  CHECK(refusal.line.starts_with("sluiced: --state-dir none: "));
  CHECK(contains(refusal.line, "--sink"));
}

TEST_CASE("options: no secret of a sink is in what a wrong command line is answered") {
  const std::vector<std::vector<const char*>> wrong{{"--sink", "postgresql://ann:s3cret@db/x"},
                                                    {"--sink=redis://:s3/cret@db"},
                                                    {"--sink", "null:", "--sink", "http://h/?token=s3cret"},
                                                    {"--sink", "file:/a?password=s3cret", "--sink", "null:"},
                                                    {"--snk", "http://ann:s3cret@h"},
                                                    {"--snk=http://ann:s3cret@h"},
                                                    {"http://ann:s3cret@h"}};
  for (const auto& words : wrong) {
    const auto parsed =
        sluiced::options::parse(words, {.state_directory = {}, .xdg_state_home = {}, .home = "/home/ann", .cpus = 1});
    const auto* const exit = std::get_if<sluiced::options::Exit>(&parsed);
    REQUIRE(exit != nullptr);
    CHECK(exit->code == 64);
    CHECK_MESSAGE(exit->text.find("cret") == std::string::npos, exit->text);
    CHECK_MESSAGE(exit->text.find("ann") == std::string::npos, exit->text);
  }
}

TEST_CASE("options: a sink that is no URL of ours exits with 64") {
  for (const char* url : {"events.db", "ftp://x", "file:", "null:?delay=soon"}) {
    CAPTURE(url);
    const Refusal refusal = refuse({"--sink", url});
    CHECK(refusal.code == 64);
    CHECK(refusal.line.starts_with(std::string("sluiced: --sink ") + url + ": "));
  }
  CHECK(refuse({"--sink", "a\nb:"}).line.starts_with("sluiced: --sink a?b:: "));
  CHECK(refuse({"--state-dir", "/tmp/a?b"}).code == 78);  // its default sink would be another file
}

TEST_CASE("options: a request may not be larger than the quarter that receives it") {
  const Options options = accept({"--queue-bytes", "65537", "--max-request-bytes", "1MiB"});
  CHECK(options.receive_bytes() == 16384);
  CHECK(options.window_bytes() == 65537 - 16384);
  CHECK(options.max_request_bytes == 16384);
}

TEST_CASE("options: the number of workers follows the CPUs within its range") {
  CHECK(accept({}, {"", "", "/h", 0}).workers == 1);
  CHECK(accept({}, {"", "", "/h", 4096}).workers == 1024);
}

TEST_CASE("options: --help fits a terminal, names every flag and the words of every choice, and exits with 0") {
  const auto result = parse({"--workers", "nonsense", "--help"});
  REQUIRE(std::holds_alternative<Exit>(result));
  const Exit& exit = std::get<Exit>(result);
  CHECK(exit.code == 0);
  CHECK_FALSE(exit.on_stderr);
  std::istringstream lines(exit.text);
  for (std::string line; std::getline(lines, line);) {
    CAPTURE(line);
    CHECK(line.size() <= 100);
  }
  for (const char* part : {"-l, --listen ADDR",
                           "-a, --admin ADDR",
                           "--allow-host NAME",
                           "--allow-origin ORIGIN",
                           "-s, --sink URL",
                           "-w, --workers N",
                           "--io-threads N",
                           "-q, --queue-events N",
                           "--queue-bytes SIZE",
                           "--overflow WORD",
                           "--ack WORD",
                           "-d, --state-dir DIR",
                           "--journal-bytes SIZE",
                           "-t, --drain-timeout DUR",
                           "--unready-delay DUR",
                           "--batch-events N",
                           "--batch-linger DUR",
                           "--retry-min DUR",
                           "--retry-max DUR",
                           "--retry-limit N",
                           "--max-event-bytes SIZE",
                           "--max-request-bytes SIZE",
                           "--max-connections N",
                           "--max-connections-per-client N",
                           "--request-timeout DUR",
                           "--idle-timeout DUR",
                           "--log-level WORD",
                           "--log-format WORD",
                           "--check-config",
                           "--help",
                           "--version",
                           ": disk, reject ",
                           ": queued, written, synced ",
                           ": error, warn, info, debug ",
                           ": text, json ",
                           " 5s\n",
                           " 256KiB\n",
                           " 65536\n",
                           " 127.0.0.1:7070\n",
                           " synced\n",
                           " 1GiB\n",
                           " disk\n"}) {
    CAPTURE(part);
    CHECK(contains(exit.text, part));
  }
}

TEST_CASE("options: --help names every word of each choice in the row of its flag") {
  const auto result = parse({"--help"});
  REQUIRE(std::holds_alternative<Exit>(result));
  const std::string& help = std::get<Exit>(result).text;
  std::size_t choices = 0;
  for (std::size_t at = help.find(" --"); at != std::string::npos; at = help.find(" --", at + 1)) {
    const std::string row = help.substr(at, help.find('\n', at) - at);
    const std::string flag = row.substr(1, row.find(' ', 3) - 1);
    if (!contains(row, flag + " WORD")) continue;
    ++choices;
    // The complaint lists the words that the parser takes: "--ack ?: one of queued, written, synced".
    std::string words = refuse({flag.c_str(), "?"}).line;
    words.erase(0, words.find("one of ") + 7);
    std::istringstream list(words);
    for (std::string word; std::getline(list >> std::ws, word, ',');) {
      CAPTURE(row);
      CAPTURE(word);
      CHECK(contains(row, word));
    }
  }
  CHECK(choices == 4);
}

TEST_CASE("options: --version says so and exits with 0") {
  const auto result = parse({"--version"});
  REQUIRE(std::holds_alternative<Exit>(result));
  CHECK(std::get<Exit>(result).code == 0);
  CHECK_FALSE(std::get<Exit>(result).on_stderr);
  CHECK(std::get<Exit>(result).text == "sluiced " + std::string(sluice::version()) + "\n");
}
