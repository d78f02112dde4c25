// Dead letters read back, requeued and dropped: what was in them is what comes out, and nothing is struck off that was
// not taken.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "sinks/dead_letter_entry.h"
#include "sinks/dead_letter_file.h"
#include "sluice/host.h"
#include "support/temp_dir.h"

namespace {

using namespace std::string_literals;
using sluice::Admit;
using sluice::DeadLetterFile;

const sluice::RunId kRun{{1, 2, 3}};

std::string id_of(std::uint64_t sequence) { return to_string(sluice::EventId{kRun, sequence}); }

struct Letter {
  std::string payload, type;
};

void append(DeadLetterFile& file, std::uint64_t sequence, const Letter& letter, std::string_view reason = "no") {
  const sluice::Delivery delivery{.payload = sluice::Event(letter.payload).payload,
                                  .content_type = letter.type,
                                  .id = {kRun, sequence},
                                  .received = {},
                                  .attempt = 3};
  const sluice::DeadLetter one{delivery, reason};
  REQUIRE_FALSE(file.append({&one, 1}));
}

// A tracker that answers as it is told, and remembers what it took.
struct Taker {
  std::vector<Letter> taken;
  std::size_t room = SIZE_MAX;  // events
  std::size_t most_at_once = SIZE_MAX;
  Admit when_full = Admit::full;

  Admit operator()(std::span<const sluice::Event> events) {
    if (events.size() > most_at_once) return Admit::too_large;
    if (events.size() > room) return when_full;
    room -= events.size();
    for (const sluice::Event& event : events) {
      taken.push_back({{reinterpret_cast<const char*>(event.payload.data()), event.payload.size()},
                       std::string(event.content_type)});
    }
    return Admit::accepted;
  }
  [[nodiscard]] DeadLetterFile::Take take() {
    return [this](std::span<const sluice::Event> events) { return (*this)(events); };
  }
};

std::vector<std::string> ids_in(const test::TempDir& state) {
  std::vector<std::string> ids;
  CHECK_FALSE(sluice::for_each_dead_letter(state.path(), [&](std::string_view, const sluice::DeadLetterEntry* entry) {
    ids.push_back(entry != nullptr ? entry->id.substr(37) : "?");
    return true;
  }));
  return ids;
}

using Ids = std::vector<std::string>;

}  // namespace

TEST_CASE("dead letters: what is read back is what was refused, whatever its bytes") {
  const test::TempDir state;
  DeadLetterFile file(state.path());
  const std::vector<Letter> letters{{R"({"a":"b\n","n":1e999})", "application/json"},
                                    {R"({"id":"1"})", "application/cloudevents+json; charset=utf-8"},
                                    {R"("a string")", "application/json"},
                                    {"no json", "application/json"},
                                    {"text with \"quotes\", \\ and \n\t\x01 é 😀", "text/plain"},
                                    {"\xff\xfe", "text/plain"},
                                    {"\0\1\2bytes"s, "application/octet-stream"},
                                    {"any", ""},
                                    {"", "text/plain"},
                                    {"", "image/png"}};
  for (std::size_t i = 0; i < letters.size(); ++i) append(file, i + 1, letters[i], "it is \"no\" invoice\n");
  std::size_t at = 0;
  CHECK_FALSE(sluice::for_each_dead_letter(state.path(), [&](std::string_view, const sluice::DeadLetterEntry* entry) {
    REQUIRE(entry != nullptr);
    CHECK(entry->id == id_of(at + 1));
    CHECK(entry->reason == "it is \"no\" invoice\n");
    CHECK(entry->attempts == 3);
    CHECK(entry->content_type == letters[at].type);
    CHECK(entry->payload == letters[at].payload);
    ++at;
    return true;
  }));
  CHECK(at == letters.size());

  Taker taker;
  const sluice::DeadLettersMoved moved = file.requeue(1000, taker.take());
  CHECK(moved.error.empty());
  CHECK(moved.moved == letters.size());
  CHECK(moved.left == 0);
  REQUIRE(taker.taken.size() == letters.size());
  for (std::size_t i = 0; i < letters.size(); ++i) {
    const std::string type = letters[i].type.empty() ? "application/octet-stream" : letters[i].type;
    CHECK(taker.taken[i].payload == letters[i].payload);
    CHECK(taker.taken[i].type == type + "; requeued=" + id_of(i + 1));
  }
  CHECK(ids_in(state).empty());
}

TEST_CASE("dead letters: the oldest go first, no more than were asked for, and new ones come behind") {
  const test::TempDir state;
  DeadLetterFile file(state.path());
  for (std::uint64_t i = 1; i <= 200; ++i) append(file, i, {"1", "application/json"});
  Taker taker;
  sluice::DeadLettersMoved moved = file.requeue(150, taker.take());
  CHECK(moved.moved == 150);
  CHECK(moved.left == 50);
  CHECK(taker.taken.size() == 150);
  append(file, 201, {"1", "application/json"});
  moved = file.drop(49);
  CHECK(moved.moved == 49);
  CHECK(moved.left == 2);
  CHECK(ids_in(state) == Ids{"200", "201"});
  CHECK_FALSE(std::filesystem::exists(state.path() / "dead-letter.ndjson.draft"));
  CHECK(file.drop(5).moved == 2);
  moved = file.drop(5);
  CHECK(moved.moved == 0);
  CHECK(moved.error.empty());
}

TEST_CASE("dead letters: what is not taken stays, and all that was taken is struck off") {
  const test::TempDir state;
  DeadLetterFile file(state.path());
  for (std::uint64_t i = 1; i <= 100; ++i) append(file, i, {"1", "application/json"});
  Taker taker;
  taker.room = 70;
  sluice::DeadLettersMoved moved = file.requeue(1000, taker.take());
  CHECK(moved.moved == 70);
  CHECK(moved.left == 30);
  CHECK_FALSE(moved.error.empty());
  CHECK(ids_in(state).front() == "71");

  // The disk failed: nobody knows, so it stays, and is not tried one by one.
  taker = {};
  taker.room = 0;
  taker.when_full = Admit::failed;
  moved = file.requeue(1000, taker.take());
  CHECK(moved.moved == 0);
  CHECK(moved.left == 30);

  taker = {};
  taker.most_at_once = 1;
  CHECK(file.requeue(1000, taker.take()).moved == 30);
  CHECK(ids_in(state).empty());
}

TEST_CASE("dead letters: a letter that is appended during a requeue is neither taken nor lost") {
  const test::TempDir state;
  DeadLetterFile file(state.path());
  append(file, 1, {"1", "application/json"});
  const sluice::DeadLettersMoved moved = file.requeue(10, [&](std::span<const sluice::Event> events) {
    CHECK(events.size() == 1);
    append(file, 2, {"2", "application/json"});
    return Admit::accepted;
  });
  CHECK(moved.moved == 1);
  CHECK(moved.left == 0);  // of those that were there at first
  CHECK(ids_in(state) == Ids{"2"});
}

// A file with letters 1, 2 and 3, and before, between and behind them what is none.
std::string spoil(DeadLetterFile& file, const test::TempDir& state) {
  const auto path = state.path() / "dead-letter.ndjson";
  const auto add = [&](std::string_view bytes) { std::ofstream(path, std::ios::app | std::ios::binary) << bytes; };
  const std::string note = "sluiced: [info] ready\n";
  const std::string zeros = std::string(5000, '\0') + "\n";
  const std::string torn = R"({"id":"01020300-0000-0000-0000-000000000000-1","time":"1970)";
  add(note);
  append(file, 1, {"1", "application/json"});
  add(zeros + note);
  append(file, 2, {"2", "application/json"});
  add(torn);  // the next letter ends it
  append(file, 3, {"3", "application/json"});
  add(note);
  return note + zeros + note + torn + "\n" + note;
}

TEST_CASE("dead letters: bad lines hold up no good one, are reported and kept aside, byte for byte") {
  for (const bool requeue : {true, false}) {
    CAPTURE(requeue);
    const test::TempDir state;
    DeadLetterFile file(state.path());
    const std::string bad = spoil(file, state);
    CHECK(ids_in(state) == Ids{"?", "1", "?", "?", "2", "?", "3", "?"});
    Taker taker;
    const sluice::DeadLettersMoved moved = requeue ? file.requeue(10, taker.take()) : file.drop(10);
    CHECK(moved.moved == 3);
    CHECK(taker.taken.size() == (requeue ? 3 : 0));
    CHECK(moved.left == 0);
    CHECK(moved.error.empty());
    CHECK(moved.damaged == 5);
    CHECK(moved.first_damaged == 1);
    CHECK(ids_in(state).empty());
    std::ifstream damaged(state.path() / "dead-letter.damaged", std::ios::binary);
    CHECK(std::string(std::istreambuf_iterator<char>(damaged), {}) == bad);
  }
}

TEST_CASE("dead letters: bad lines count for nobody's limit, and those behind what is not taken stay where they are") {
  const test::TempDir state;
  DeadLetterFile file(state.path());
  spoil(file, state);
  Taker taker;
  taker.room = 1;
  sluice::DeadLettersMoved moved = file.requeue(10, taker.take());
  CHECK(moved.moved == 1);
  CHECK(moved.damaged == 3);
  CHECK(ids_in(state) == Ids{"2", "?", "3", "?"});
  CHECK(moved.left == 4);
  taker.room = 10;
  moved = file.requeue(2, taker.take());
  CHECK(moved.moved == 2);
  CHECK(moved.damaged == 1);
  CHECK(moved.first_damaged == 2);
  CHECK(ids_in(state) == Ids{"?"});
}

TEST_CASE("dead letters: a bad line that cannot be kept aside stays, and what is before it was moved") {
  const test::TempDir state;
  DeadLetterFile file(state.path());
  append(file, 1, {"1", "application/json"});
  std::ofstream(state.path() / "dead-letter.ndjson", std::ios::app) << "a note\n";
  append(file, 3, {"3", "application/json"});
  std::filesystem::create_directory(state.path() / "dead-letter.damaged");
  Taker taker;
  const sluice::DeadLettersMoved moved = file.requeue(10, taker.take());
  CHECK(moved.moved == 1);
  CHECK(moved.left == 2);
  CHECK(moved.damaged == 0);
  CHECK(moved.error.find("Is a directory") != std::string::npos);
  CHECK(ids_in(state) == Ids{"?", "3"});
}

TEST_CASE("dead letters: a file that is another one by now is not cut") {
  const test::TempDir state;
  DeadLetterFile file(state.path());
  append(file, 1, {"1", "application/json"});
  const auto path = state.path() / "dead-letter.ndjson";
  const sluice::DeadLettersMoved moved = file.requeue(10, [&](std::span<const sluice::Event>) {
    std::filesystem::rename(path, state.path() / "moved");
    append(file, 2, {"2", "application/json"});
    return Admit::accepted;
  });
  CHECK_FALSE(moved.error.empty());
  CHECK(ids_in(state) == Ids{"2"});
}

TEST_CASE("dead letters: an event that is requeued again and again keeps a content type that fits") {
  sluice::DeadLetterEntry entry;
  entry.id = id_of(7);
  entry.content_type = "text/plain; requeued=" + id_of(3) + "; charset=utf-8";
  CHECK(requeued_type(entry) == "text/plain; charset=utf-8; requeued=" + id_of(7));
  entry.content_type = "text/plain; x=" + std::string(230, 'x');
  CHECK(requeued_type(entry) == "text/plain; requeued=" + id_of(7));
  entry.content_type = "text/" + std::string(230, 'x');
  CHECK(requeued_type(entry) == entry.content_type);
}
