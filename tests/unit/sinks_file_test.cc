// The file sink, standard output and the dead letters: what a line is, and what stands in a file after things go wrong.
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <thread>

#include "sinks/dead_letter_file.h"
#include "sinks/line_file.h"
#include "sinks_support.h"
#include "support/database.h"
#include "support/json_texts.h"
#include "text/json_check.h"
#include "text/utf8.h"

namespace {

using namespace sinks_test;
using sluice::Verdict;

constexpr const char* kRun = "00010203-0405-0607-0809-0a0b0c0d0e0f";

std::string line_start(std::uint64_t sequence) {
  return std::string(R"({"id":")") + kRun + '-' + std::to_string(sequence) +
         R"(","time":"2024-05-06T07:08:09.123456Z")";
}
std::string json_line(std::uint64_t sequence, const std::string& data) {
  return line_start(sequence) + R"(,"datacontenttype":"application/json","data":)" + data + "}\n";
}

std::unique_ptr<sluice::Sink> file_sink(const std::string& path, const std::string& parameters = "") {
  return sluice::sinks_for("file:" + path + parameters)({});
}

// What one event becomes, without what is before its type.
std::string encoded(const std::string& payload, const std::string& type) {
  const TempDir dir;
  const auto sink = file_sink(dir / "out");
  REQUIRE(all(deliver(*sink, Batch().add(payload, type)), Verdict::delivered));
  const std::string line = content(dir / "out");
  REQUIRE(line.starts_with(line_start(1)));
  REQUIRE(line.ends_with("}\n"));
  return line.substr(line_start(1).size(), line.size() - line_start(1).size() - 2);
}

class IgnoreBrokenPipe {
 public:
  IgnoreBrokenPipe() : handler_(::signal(SIGPIPE, SIG_IGN)) {}
  IgnoreBrokenPipe(const IgnoreBrokenPipe&) = delete;
  IgnoreBrokenPipe& operator=(const IgnoreBrokenPipe&) = delete;
  ~IgnoreBrokenPipe() { ::signal(SIGPIPE, handler_); }

 private:
  void (*handler_)(int);
};

// Reads what is there without waiting.
std::string drain(int descriptor) {
  std::string text;
  std::array<char, 65536> chunk;
  for (ssize_t n = 0; (n = ::read(descriptor, chunk.data(), chunk.size())) > 0;) {
    text.append(chunk.data(), static_cast<std::size_t>(n));
  }
  return text;
}

TEST_CASE("line: JSON is copied unchanged, on one line") {
  CHECK(encoded("{\"a\":\r\n [1,\n2]}", "application/json") ==
        R"(,"datacontenttype":"application/json","data":{"a":   [1, 2]})");
  CHECK(encoded("1e999", "Application/Vnd.Thing+JSON; charset=utf-8") ==
        R"(,"datacontenttype":"Application/Vnd.Thing+JSON; charset=utf-8","data":1e999)");
}

TEST_CASE("line: text becomes a string that decodes to the same text") {
  CHECK(encoded("a\"b\\c\n\t\r\x01\x1f/\u00e9\U0001F600\x7f", "text/plain") ==
        ",\"datacontenttype\":\"text/plain\",\"data\":\"a\\\"b\\\\c\\n\\t\\r\\u0001\\u001f/\u00e9\U0001F600\x7f\"");
}

TEST_CASE("line: other payloads are base64, also one that is not the JSON or text that its type claims") {
  CHECK(encoded("", "") == R"(,"data_base64":"")");
  CHECK(encoded("f", "") == R"(,"data_base64":"Zg==")");
  CHECK(encoded("fo", "") == R"(,"data_base64":"Zm8=")");
  CHECK(encoded("foo", "image/png") == R"(,"datacontenttype":"image/png","data_base64":"Zm9v")");
  CHECK(encoded("\xff\xfe\xfd", "text/plain") == R"(,"datacontenttype":"text/plain","data_base64":"//79")");
  CHECK(encoded("{\"a\":}", "application/x+json") ==
        R"(,"datacontenttype":"application/x+json","data_base64":"eyJhIjp9")");
}

TEST_CASE("line: a type that is not UTF-8 does not break the line") {
  CHECK(encoded("x", "a\xff\"b") == ",\"datacontenttype\":\"a\uFFFD\\\"b\",\"data_base64\":\"eA==\"");
}

TEST_CASE("line: a CloudEvent is a line by itself") {
  const TempDir dir;
  const auto sink = file_sink(dir / "out");
  deliver(*sink, Batch().add("{\"id\":\"x\",\n\"source\":\"y\"}", "application/cloudevents+json; charset=UTF-8"));
  CHECK(content(dir / "out") == "{\"id\":\"x\", \"source\":\"y\"}\n");
}

TEST_CASE("content: the check of JSON is the one of the intake") {
  for (const test::JsonText& good : test::json_texts()) {
    INFO(good.what);
    CHECK(sluice::is_json(good.text));
  }
  for (const test::JsonText& bad : test::no_json_texts()) {
    INFO(bad.what);
    CHECK_FALSE(sluice::is_json(bad.text));
  }
}

TEST_CASE("content: UTF-8 is told from what is nearly UTF-8") {
  for (const char* good : {"", "plain ascii, longer than a word", "\xc2\x80", "\xe0\xa0\x80", "\xed\x9f\xbf",
                           "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "12345678\u00e9"}) {
    CAPTURE(good);
    CHECK(sluice::is_utf8(good));
  }
  for (const char* bad : {"\x80", "\xc0\x80", "\xc1\xbf", "\xc2", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xe1\x80",
                          "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "1234567\xc3"}) {
    CAPTURE(bad);
    CHECK_FALSE(sluice::is_utf8(bad));
  }
}

TEST_CASE("file: raw is the payload and a line feed") {
  const TempDir dir;
  const auto sink = file_sink(dir / "out", "?format=raw");
  CHECK(sink->name() == "file:" + (dir / "out"));
  deliver(*sink, Batch().add("a\nb", "text/plain").add("", ""));
  CHECK(content(dir / "out") == "a\nb\n\n");
}

TEST_CASE("file: an event longer than the buffer is written whole") {
  const TempDir dir;
  for (const std::size_t size : {65536UL - 120, 65536UL, 65537UL, 200000UL, 1000000UL}) {
    const std::string path = dir / std::to_string(size);
    const std::string payload = '"' + std::string(size, 'x') + '"';
    REQUIRE(all(deliver(*file_sink(path), Batch().add(payload).add("2")), Verdict::delivered));
    CHECK(content(path) == json_line(1, payload) + json_line(2, "2"));
  }
}

TEST_CASE("file: batches follow each other, under every ack level and across a restart") {
  const TempDir dir;
  std::uint64_t next = 1;
  for (const auto ack : {sluice::Ack::queued, sluice::Ack::written, sluice::Ack::synced}) {
    sluice::SinkContext context;
    context.ack = ack;
    const auto sink = sluice::sinks_for("file:" + (dir / "out"))(context);
    CHECK(all(deliver(*sink, Batch(next).add("1")), Verdict::delivered));
    ++next;
  }
  CHECK(content(dir / "out") == json_line(1, "1") + json_line(2, "1") + json_line(3, "1"));
}

// What stood in a file, what stands there after the start, and a word of what the log says about it.
struct Tail {
  std::string before, after, says;
};

void check_tails(const std::vector<Tail>& tails, const std::string& parameters = "") {
  const TempDir dir;
  for (const auto& [before, after, says] : tails) {
    CAPTURE(before.substr(0, 200));
    CAPTURE(before.size());
    write_file(dir / "out", before);
    std::string news;
    sluice::SinkContext context;
    context.log = [&](sluice::LogLevel, std::string_view line) { news = line; };
    const auto sink = sluice::sinks_for("file:" + (dir / "out") + parameters)(context);
    CHECK(content(dir / "out") == after);
    CHECK(news.empty() == says.empty());
    CHECK(news.find(says) != std::string::npos);
    deliver(*sink, Batch().add("1"));
    CHECK(content(dir / "out") == after + (parameters.empty() ? json_line(1, "1") : "1\n"));
  }
}

TEST_CASE("file: a torn last line of ours is cut off at the start, and logged") {
  const std::string zeros(20000, '\0');
  const std::string ours = json_line(7, "\"x\"");
  const std::string torn = ours.substr(0, ours.size() - 1);
  const std::string long_line = json_line(8, '"' + std::string(100000, 'x') + '"');
  const std::string event = "{\"specversion\":\"1.0\",\"id\":\"x\"}\n";
  check_tails({
      {"", "", ""},
      {ours, ours, ""},
      {long_line + ours, long_line + ours, ""},
      {torn, "", "torn"},
      {ours + torn, ours, "torn"},
      {ours + torn.substr(0, 60), ours, "torn"},
      {ours + "{\"i", ours, "torn"},
      {"his\n" + torn, "his\n", "torn"},
      {long_line + long_line.substr(0, 90000), long_line, "torn"},
      {ours + event.substr(0, 20), ours, "torn"},    // of a CloudEvent
      {event + event.substr(0, 20), event, "torn"},  // likewise
      {ours + zeros, ours, "torn"},                  // what a power cut leaves
      {ours + zeros + "b\n", ours, "torn"},
      {ours + torn + zeros + "\n{\"id", ours, "torn"},
      {"his\n" + zeros, "his\n", "torn"},
      {zeros, "", "torn"},
      {torn + zeros, "", "torn"},
  });
}

TEST_CASE("file: another program's last line without a line feed gets one, and not a byte of it is cut") {
  const std::string ours = json_line(7, "1");
  const std::string chunk(16384, 'x');  // as much as is read at once
  std::vector<Tail> tails;
  for (const std::string& his :
       {std::string("only line"), std::string("old\n{\"whole\":\"json\"}"), std::string("{\"id\":\"his own\"}"),
        std::string("{\"a\":1}\n{\"torn"), std::string("caf\xe9\tau lait"), chunk, chunk + "\n" + chunk,
        ours + "# a note", ours + "{\"whole\":1}", std::string("{\"id\":\"00010203-0405-0607-0809")}) {
    tails.push_back({his, his + "\n", "ended the last line"});
  }
  tails.push_back({"his\n", "his\n", ""});
  check_tails(tails);
}

TEST_CASE("file: bytes that another process appends after a torn batch are not cut off with it") {
  const TempDir dir;
  sluice::LineFile file(dir / "out", sluice::LineFile::Kind::events);
  const std::stop_token never;
  REQUIRE_FALSE(file.begin(never).failed());
  REQUIRE_FALSE(file.write("{\"torn", never).failed());
  std::ofstream(dir / "out", std::ios::app) << "his";
  file.abandon();
  CHECK(content(dir / "out") == "{\"tornhis");
  CHECK(file.take_news().find("somebody else writes to it as well") != std::string::npos);
  REQUIRE_FALSE(file.begin(never).failed());
  REQUIRE_FALSE(file.write("ours\n", never).failed());
  CHECK_FALSE(file.finish(/*sync=*/false).failed());
  CHECK(content(dir / "out") == "{\"tornhis\nours\n");
}

TEST_CASE("file: with raw lines nothing is cut off, and a last line without a line feed gets one") {
  const std::string zeros(100, '\0');
  check_tails({{"", "", ""},
               {"a\nb\n", "a\nb\n", ""},
               {"a\nb", "a\nb\n", "ended the last line"},
               {json_line(1, "1").substr(0, 70), json_line(1, "1").substr(0, 70) + "\n", "ended the last line"},
               {"a\n" + zeros, "a\n" + zeros + "\n", "ended the last line"}},
              "?format=raw");
}

TEST_CASE("file: a file that is not lines of text is refused and left unchanged") {
  const TempDir dir;
  {
    test::Database database(dir / "db");
    database.run("CREATE TABLE t(x); INSERT INTO t VALUES('a\nb\n')");
  }
  const std::string zeros(512, '\0');
  const std::string gzip("\x1f\x8b\x08\x00\x00\n\x03", 7);
  for (const std::string& bytes : {content(dir / "db"), std::string("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16), gzip,
                                   zeros + "text\n", "name" + zeros + "text\n" + zeros, "a\nb\n" + gzip}) {
    CAPTURE(bytes.size());
    write_file(dir / "out", bytes);
    const Refusal refusal = refusal_of("file:" + (dir / "out"));
    CHECK(refusal.kind == sluice::StartError::Kind::unusable);
    CHECK(refusal.what == "open " + (dir / "out") + ": this is no text of lines, and nothing is appended to it");
    CHECK(content(dir / "out") == bytes);
  }
  CHECK(refusal_of("file:" + (dir / "db") + "?format=raw").kind == sluice::StartError::Kind::unusable);
}

TEST_CASE("file: a file that becomes a database while in use is not appended to") {
  const TempDir dir;
  const auto sink = file_sink(dir / "out");
  deliver(*sink, Batch(1).add("1"));
  std::filesystem::remove(dir / "out");
  test::Database(dir / "out").run("CREATE TABLE t(x)");
  const std::string bytes = content(dir / "out");
  const auto verdicts = deliver(*sink, Batch(2).add("2"));
  CHECK(all(verdicts, Verdict::try_again));
  CHECK(verdicts[0].reason().find("no text of lines") != std::string::npos);
  CHECK(content(dir / "out") == bytes);
  std::filesystem::remove(dir / "out");
  CHECK(all(deliver(*sink, Batch(2).add("2")), Verdict::delivered));
}

void append_to(const std::string& path, std::string_view text) {
  std::ofstream(path, std::ios::binary | std::ios::app) << text;
}

TEST_CASE("file: an unfinished line of another process does not swallow ours") {
  const TempDir dir;
  const auto sink = file_sink(dir / "out");
  deliver(*sink, Batch(1).add("1"));
  append_to(dir / "out", "his");
  CHECK(all(deliver(*sink, Batch(2).add("2")), Verdict::delivered));
  append_to(dir / "out", "whole\n");
  CHECK(all(deliver(*sink, Batch(3).add("3")), Verdict::delivered));
  CHECK(content(dir / "out") == json_line(1, "1") + "his\n" + json_line(2, "2") + "whole\n" + json_line(3, "3"));
}

TEST_CASE("file: with raw lines zero bytes are not damage") {
  const TempDir dir;
  const std::string before("a\n\0\n", 4);
  write_file(dir / "out", before);
  const auto sink = file_sink(dir / "out", "?format=raw");
  CHECK(content(dir / "out") == before);
}

TEST_CASE("file: a renamed or deleted file is reopened before the next batch") {
  const TempDir dir;
  std::vector<std::string> news;
  sluice::SinkContext context;
  context.ack = sluice::Ack::synced;
  context.log = [&](sluice::LogLevel, std::string_view line) { news.emplace_back(line); };
  const auto sink = sluice::sinks_for("file:" + (dir / "out"))(context);
  deliver(*sink, Batch(1).add("1"));
  std::filesystem::rename(dir / "out", dir / "out.1");
  CHECK(all(deliver(*sink, Batch(2).add("2")), Verdict::delivered));
  std::filesystem::remove(dir / "out");
  CHECK(all(deliver(*sink, Batch(3).add("3")), Verdict::delivered));
  CHECK(content(dir / "out.1") == json_line(1, "1"));
  CHECK(content(dir / "out") == json_line(3, "3"));
  CHECK(news.size() == 2);
}

TEST_CASE("file: while its directory is gone nothing is lost, and it works again afterwards") {
  const TempDir dir;
  std::filesystem::create_directory(dir / "sub");
  const auto sink = file_sink(dir / "sub/out");
  deliver(*sink, Batch(1).add("1"));
  std::filesystem::rename(dir / "sub", dir / "away");
  const auto verdicts = deliver(*sink, Batch(2).add("2").add("3"));
  CHECK(all(verdicts, Verdict::try_again));
  CHECK(verdicts[0].reason() == "open " + (dir / "sub/out") + ": No such file or directory");
  std::filesystem::create_directory(dir / "sub");
  CHECK(all(deliver(*sink, Batch(2).add("2").add("3")), Verdict::delivered));
  CHECK(content(dir / "away/out") == json_line(1, "1"));
  CHECK(content(dir / "sub/out") == json_line(2, "2") + json_line(3, "3"));
}

TEST_CASE("file: a file that another process cut short is appended to at its new end") {
  const TempDir dir;
  const auto sink = file_sink(dir / "out");
  deliver(*sink, Batch(1).add("1"));
  std::filesystem::resize_file(dir / "out", 0);
  deliver(*sink, Batch(2).add("2"));
  CHECK(content(dir / "out") == json_line(2, "2"));
}

TEST_CASE("file: a file that cannot be opened refuses the start with the system's reason") {
  const TempDir dir;
  const Refusal missing = refusal_of("file:" + (dir / "no/out"));
  CHECK(missing.kind == sluice::StartError::Kind::io);
  CHECK(missing.what == "open " + (dir / "no/out") + ": No such file or directory");
  CHECK(refusal_of("file:" + dir.path().string()).what == "open " + dir.path().string() + ": Is a directory");
  REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
  CHECK(refusal_of("file:" + (dir / "fifo")).kind == sluice::StartError::Kind::io);  // nobody reads it
}

TEST_CASE("file: a path that another process holds is refused until that process is gone") {
  const TempDir dir;
  std::array<int, 2> pipe{};
  REQUIRE(::pipe(pipe.data()) == 0);
  const ::pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const auto sink = file_sink(dir / "out");
    static_cast<void>(!::write(pipe[1], sink->name().data(), 1));
    while (true) ::pause();
  }
  char ready = 0;
  REQUIRE(::read(pipe[0], &ready, 1) == 1);
  const Refusal refusal = refusal_of("file:" + (dir / "out"));
  CHECK(refusal.kind == sluice::StartError::Kind::in_use);
  CHECK(refusal.what.find(dir / "out") != std::string::npos);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  CHECK(refusal_of("file:" + (dir / "out")).what.empty());
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST_CASE("file: sinks of several threads and factories share one file and keep their lines whole") {
  const TempDir dir;
  constexpr std::size_t kThreads = 4;
  constexpr std::size_t kBatches = 50;
  std::vector<std::jthread> threads;
  std::atomic<std::size_t> delivered{0};
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      // Two names of one file.
      const auto sink = file_sink(t % 2 == 0 ? dir / "out" : dir / "./out");
      for (std::size_t i = 0; i < kBatches; ++i) {
        Batch batch(1 + (t * kBatches + i) * 3);
        batch.add("1").add('"' + std::string(i * 3000, 'x') + '"').add("3");
        if (all(deliver(*sink, batch), Verdict::delivered)) ++delivered;
      }
    });
  }
  threads.clear();
  CHECK(delivered == kThreads * kBatches);
  std::ifstream lines(dir / "out");
  std::size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    CHECK_MESSAGE(line.starts_with(R"({"id":")"), line.substr(0, 100));
    CHECK_MESSAGE(line.ends_with("}"), line.substr(0, 100));
  }
  CHECK(count == kThreads * kBatches * 3);
}

TEST_CASE("file: a partly written batch is cut off, and whole when sent again") {
  const TempDir dir;
  const auto sink = file_sink(dir / "out");
  const auto other = file_sink(dir / "out");
  deliver(*sink, Batch(1).add("1"));
  Batch big(2);
  for (int i = 0; i < 10; ++i) big.add('"' + std::string(20000, 'x') + '"');
  std::vector<Verdict> verdicts;
  std::string left;
  std::vector<Verdict> of_other;
  {
    const FileSizeLimit limit(100000);
    verdicts = deliver(*sink, big);
    left = content(dir / "out");
    of_other = deliver(*other, Batch(50).add("50"));
  }
  CHECK(all(verdicts, Verdict::try_again));
  CHECK(verdicts[0].reason() == "write " + (dir / "out") + ": File too large");
  CHECK(left == json_line(1, "1"));
  CHECK(all(of_other, Verdict::delivered));
  CHECK(content(dir / "out") == json_line(1, "1") + json_line(50, "50"));
  CHECK(all(deliver(*sink, big), Verdict::delivered));
  CHECK(content(dir / "out").starts_with(json_line(1, "1") + json_line(50, "50") + line_start(2)));
}

TEST_CASE("file: nothing is appended to a torn batch while it cannot be cut off") {
  // A memory file that may not shrink: writing fails at the limit, and cutting fails always.
  const int memory = ::memfd_create("sluice-test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  REQUIRE(memory >= 0);
  const std::string path = "/proc/self/fd/" + std::to_string(memory);
  const auto sink = file_sink(path);
  REQUIRE(all(deliver(*sink, Batch(1).add("1")), Verdict::delivered));
  REQUIRE(::fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
  Batch big(2);
  big.add('"' + std::string(200000, 'x') + '"');
  std::vector<Verdict> verdicts;
  {
    const FileSizeLimit limit(100000);
    verdicts = deliver(*sink, big);
  }
  CHECK(all(verdicts, Verdict::try_again));
  const std::string torn = content(path);
  CHECK(torn.size() > json_line(1, "1").size());
  verdicts = deliver(*sink, Batch(3).add("3"));
  CHECK(all(verdicts, Verdict::try_again));
  CHECK(verdicts[0].reason() == "cut back " + path + ": Operation not permitted");
  CHECK(content(path) == torn);
  ::close(memory);
}

TEST_CASE("file: on a full device the verdict is try_again, with the system's reason") {
  const auto sink = file_sink("/dev/full");
  const auto verdicts = deliver(*sink, Batch().add("1").add("2"));
  CHECK(all(verdicts, Verdict::try_again));
  CHECK(verdicts[1].reason() == "write /dev/full: No space left on device");
}

TEST_CASE("pipe: a reader that does not read blocks no worker after the stop, and the torn line is ended first") {
  const IgnoreBrokenPipe ignore;
  const TempDir dir;
  REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
  const int reader = ::open((dir / "fifo").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  REQUIRE(reader >= 0);
  const auto sink = file_sink(dir / "fifo");
  std::stop_source stop;
  std::vector<Verdict> verdicts;
  const std::string huge = '"' + std::string(300000, 'x') + '"';
  std::thread worker([&] { verdicts = deliver(*sink, Batch(1).add("1").add(huge), stop.get_token()); });
  // Once it holds more than the first line the pipe is filling up.
  struct ::pollfd readable {
    reader, POLLIN, 0
  };
  REQUIRE(::poll(&readable, 1, 10000) == 1);
  stop.request_stop();
  worker.join();
  CHECK(all(verdicts, Verdict::try_again));
  std::string text = drain(reader);
  CHECK(text.starts_with(json_line(1, "1")));
  CHECK_FALSE(text.ends_with("\n"));
  CHECK(all(deliver(*sink, Batch(3).add("3")), Verdict::delivered));
  CHECK(drain(reader) == "\n" + json_line(3, "3"));

  ::close(reader);
  verdicts = deliver(*sink, Batch(4).add("4"));
  CHECK(all(verdicts, Verdict::try_again));
  CHECK(verdicts[0].reason() == "write " + (dir / "fifo") + ": Broken pipe");
  CHECK_FALSE(sink->gone());  // a next reader may come
  const int next_reader = ::open((dir / "fifo").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  CHECK(all(deliver(*sink, Batch(4).add("4")), Verdict::delivered));
  CHECK(drain(next_reader) == json_line(4, "4"));
  ::close(next_reader);
}

TEST_CASE("pipe: a slow reader gets every byte in order") {
  const TempDir dir;
  REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
  const int reader = ::open((dir / "fifo").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  REQUIRE(reader >= 0);
  std::string expected;
  Batch batch;
  for (std::uint64_t i = 1; i <= 200; ++i) {
    const std::string payload = '"' + std::string(i * 37, 'x') + '"';
    batch.add(payload);
    expected += json_line(i, payload);
  }
  std::vector<Verdict> verdicts;
  std::thread worker([&] { verdicts = deliver(*file_sink(dir / "fifo"), batch); });
  std::string got;
  while (got.size() < expected.size()) {
    struct ::pollfd readable {
      reader, POLLIN, 0
    };
    if (::poll(&readable, 1, 10000) != 1) break;
    got += drain(reader);
  }
  worker.join();
  CHECK(all(verdicts, Verdict::delivered));
  CHECK(got == expected);
  ::close(reader);
}

// Standard output is this descriptor while it lives.
class StandardOutput {
 public:
  explicit StandardOutput(int descriptor) : saved_(::dup(STDOUT_FILENO)) {
    std::fflush(stdout);
    ::dup2(descriptor, STDOUT_FILENO);
  }
  StandardOutput(const StandardOutput&) = delete;
  StandardOutput& operator=(const StandardOutput&) = delete;
  ~StandardOutput() {
    ::dup2(saved_, STDOUT_FILENO);
    ::close(saved_);
  }

 private:
  int saved_;
};

TEST_CASE("stdout: once its reader is gone every worker's sink is gone, and not before") {
  const IgnoreBrokenPipe ignore;
  std::array<int, 2> pipe{};
  REQUIRE(::pipe(pipe.data()) == 0);
  bool before = true, after = false, others = false;
  std::vector<Verdict> first, second;
  {
    const StandardOutput output(pipe[1]);
    const auto one = sluice::sinks_for("stdout:")({});
    const auto other = sluice::sinks_for("stdout:")({});
    first = deliver(*one, Batch(1).add("1"));
    before = one->gone() || other->gone();
    ::close(pipe[0]);
    second = deliver(*one, Batch(2).add("2"));
    after = one->gone();
    others = other->gone();
  }
  ::close(pipe[1]);
  CHECK(all(first, Verdict::delivered));
  CHECK(all(second, Verdict::try_again));
  CHECK_FALSE(before);
  CHECK(after);
  CHECK(others);
}

TEST_CASE("stdout: a regular file is appended to, and a torn batch is cut off it") {
  const TempDir dir;
  write_file(dir / "out", "before\nhis");
  const int saved = ::dup(STDOUT_FILENO);
  const int file = ::open((dir / "out").c_str(), O_WRONLY | O_CLOEXEC);
  REQUIRE(saved >= 0);
  REQUIRE(file >= 0);
  std::vector<Verdict> first;
  std::vector<Verdict> second;
  std::string name;
  ::dup2(file, STDOUT_FILENO);
  {
    const auto sink = sluice::sinks_for("stdout:")({});
    name = sink->name();
    first = deliver(*sink, Batch(1).add("1"));
    const FileSizeLimit limit(1000);
    second = deliver(*sink, Batch(2).add('"' + std::string(2000, 'x') + '"'));
  }
  ::dup2(saved, STDOUT_FILENO);
  ::close(saved);
  ::close(file);
  CHECK(name == "stdout");
  CHECK(all(first, Verdict::delivered));
  CHECK(all(second, Verdict::try_again));
  CHECK(second[0].reason() == "write standard output: File too large");
  CHECK(content(dir / "out") == "before\nhis\n" + json_line(1, "1"));
}

TEST_CASE("dead letters: a line contains the event, the reason and the number of attempts") {
  const TempDir dir;
  write_file(dir / "dead-letter.ndjson", "{}\n" + line_start(1).substr(0, 60));
  Batch batch;
  batch.add("{\"a\":1}").add("\xff", "text/plain").add("{\"id\":\"x\"}", "application/cloudevents+json");
  std::vector<sluice::Delivery> events = batch.events();
  events[1].attempt = 7;
  {
    sluice::DeadLetterFile file(dir.path());
    const std::array letters{sluice::DeadLetter{events[0], "too \"odd\""}, sluice::DeadLetter{events[1], "bad"}};
    CHECK_FALSE(file.append(letters));
    CHECK_FALSE(file.append({}));
    const std::array more{sluice::DeadLetter{events[2], ""}};
    CHECK_FALSE(file.append(more));
  }
  CHECK(content(dir / "dead-letter.ndjson") ==
        "{}\n" + line_start(1) +
            R"(,"reason":"too \"odd\"","attempts":1,"datacontenttype":"application/json","data":{"a":1}})" + "\n" +
            line_start(2) + R"(,"reason":"bad","attempts":7,"datacontenttype":"text/plain","data_base64":"/w=="})" +
            "\n" + line_start(3) +
            R"(,"reason":"","attempts":1,"datacontenttype":"application/cloudevents+json","data":{"id":"x"}})" + "\n");
}

TEST_CASE("dead letters: a letter that was not written whole is not in the file, and the error is the disk's") {
  const TempDir dir;
  sluice::DeadLetterFile file(dir.path());
  const std::string payload = '"' + std::string(150000, 'x') + '"';
  Batch batch;
  batch.add("1").add(payload);
  const std::array one{sluice::DeadLetter{batch.events()[0], "r"}};
  const std::array two{one[0], sluice::DeadLetter{batch.events()[1], "r"}};
  REQUIRE_FALSE(file.append(one));
  const std::string before = content(dir / "dead-letter.ndjson");
  std::error_code error;
  {
    const FileSizeLimit limit(100000);
    error = file.append(two);
  }
  CHECK(error == std::errc::file_too_large);
  CHECK(content(dir / "dead-letter.ndjson") == before);
  CHECK_FALSE(file.append(two));
  CHECK(content(dir / "dead-letter.ndjson").starts_with(before + before));
}

TEST_CASE("dead letters: a file that cannot be created at the start is created with the first letter") {
  const TempDir dir;
  sluice::DeadLetterFile file(dir / "no");
  Batch batch;
  batch.add("1");
  const std::array one{sluice::DeadLetter{batch.events()[0], "r"}};
  CHECK(file.append(one) == std::errc::no_such_file_or_directory);
  std::filesystem::create_directory(dir / "no");
  CHECK_FALSE(file.append(one));
  CHECK(content(dir / "no/dead-letter.ndjson").find(line_start(1)) == 0);
}

}  // namespace
