// The judge is judged: the model of power loss must let a right journal pass and convict each wrong one. The journal
// here is the simplest that can be right: a file a life, never removed, one checksum a commit. Its faults are those of
// real journals, one at a time.
#include <doctest/doctest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <set>
#include <sstream>
#include <stdexcept>

#include "model/oracle.h"
#include "model/scenario.h"
#include "model/sink_file.h"

using namespace model;
using sluice::Disk;
using sluice::DiskFile;
using sluice::EventId;
using sluice::RunId;

namespace {

struct Wrong {
  bool answers_before_sync = false;
  bool never_syncs_names = false;
  bool takes_halves = false;     // of a torn commit
  bool counts_on = false;        // one run for all lives, and sequences from what was found
  bool syncs_once_more = false;  // after a failed sync, and believes it
  bool trusts_any_line = false;  // no checksums
  bool takes_what_it_refuses = false;
  bool forgets_settles = false;  // says they are synced
  bool hands_out_twice = false;
  bool trusts_the_cache = false;  // for the events of the last life
  bool settles_at_once = false;   // under `written`, what its sink has not synced
};

std::uint64_t check(std::string_view text) { return Oracle::hash(text); }

class ToyJournal final : public Life {
 public:
  ToyJournal(MemoryDisk& disk, const Setup& setup, std::uint64_t life, Wrong wrong)
      : disk_(disk), wrong_(wrong), sync_sink_(setup.ack == sluice::Ack::written ? setup.sync_sink : nullptr) {
    run_.bytes[15] = wrong.counts_on ? 1 : static_cast<std::uint8_t>(life + 1);
    must(disk.hold());
    std::vector<std::string> names;
    must(disk.list(names));
    for (const std::string& name : names) {
      if (name.starts_with("log-")) recover(content(name));
      if (name.starts_with("done-")) recover_settles(content(name));
    }
    std::erase_if(backlog_, [&](const Handed& event) { return finished_.contains(to_string(event.id)); });
    must(disk.open("log-" + std::to_string(100 + life), Disk::Open::create, log_));
    must(disk.open("done-" + std::to_string(100 + life), Disk::Open::create, done_));
    if (!wrong_.never_syncs_names) must(disk.sync_directory());
    if (!wrong_.trusts_the_cache) keep_backlog();
    // Settles that were found may stand in the page cache only, too.
    for (const std::string& done : finished_) settles_ += done + ' ' + std::to_string(check(done)) + '\n';
  }

  std::vector<Answer> commit(std::span<const Asked> requests) override {
    std::vector<Answer> answers(requests.size());
    std::deque<Handed> fresh;
    std::string body;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      answers[i] = {Answer::acknowledged, {run_, next_}};
      for (const std::string& payload : requests[i]) {
        const EventId id{run_, next_++};
        fresh.push_back({id, payload});
        body += record(fresh.back());
      }
    }
    if (failed_) return std::vector<Answer>(requests.size(), {Answer::refused, {}});
    bool bad = !append(body);
    if (!bad && !wrong_.answers_before_sync) bad = bool{log_->sync()} && (!wrong_.syncs_once_more || log_->sync());
    DiskFile::Stat stat;
    bad = bad || log_->stat(stat) || stat.links == 0;
    if (bad) {
      failed_ = true;
      return std::vector<Answer>(requests.size(), {Answer::unknown, {}});
    }
    backlog_.insert(backlog_.end(), fresh.begin(), fresh.end());
    if (wrong_.takes_what_it_refuses && next_ % 7 == 0) answers.back() = {Answer::refused, {}};
    return answers;
  }

  bool sync() override { return !failed_; }

  std::vector<Handed> take(std::size_t most) override {
    std::vector<Handed> some;
    while (some.size() < most && !backlog_.empty()) {
      some.push_back(backlog_.front());
      if (wrong_.hands_out_twice && ++taken_ % 7 == 0) backlog_.push_back(backlog_.front());
      backlog_.pop_front();
    }
    return some;
  }

  void settle(std::span<const EventId> ids) override {
    withheld_.insert(withheld_.end(), ids.begin(), ids.end());
    if (!sync_sink_ || wrong_.settles_at_once) settle_withheld();
  }
  bool sync_sink() override {
    if (wrong_.settles_at_once) return true;  // it never asks
    const bool synced = !sync_sink_ || sync_sink_(withheld_);
    if (synced) settle_withheld();
    withheld_.clear();
    return synced;
  }
  void write_settles() override {
    if (done_failed_ || settles_.empty()) return;
    done_failed_ = !write(*done_, done_end_, settles_);
    done_end_ += settles_.size();
    settles_.clear();
  }
  bool sync_settles() override {
    if (wrong_.forgets_settles) return true;
    done_failed_ = done_failed_ || done_->sync();
    return !done_failed_;
  }
  void maintain() override {}
  bool all_taken() override { return backlog_.empty(); }
  Stop close(std::span<const Asked> requests, std::vector<Answer>& answers, const Deliver& /*deliver*/) override {
    if (!requests.empty()) answers = commit(requests);
    static_cast<void>(sync_sink());
    write_settles();
    return {.for_good = sync_settles() && !failed_, .accounted = true};
  }

 private:
  static void must(std::error_code failed) {
    if (failed) throw std::system_error(failed);
  }
  static bool write(DiskFile& file, std::uint64_t offset, std::string_view text) {
    const std::span<const std::byte> piece = std::as_bytes(std::span(text));
    return !file.write(offset, {&piece, 1});
  }
  void settle_withheld() {
    for (const EventId& id : withheld_) {
      const std::string text = to_string(id);
      settles_ += text + ' ' + std::to_string(check(text)) + '\n';
    }
    withheld_.clear();
  }
  std::string content(const std::string& name) {
    std::unique_ptr<DiskFile> file;
    must(disk_.open(name, Disk::Open::read, file));
    DiskFile::Stat stat;
    must(file->stat(stat));
    std::string bytes(stat.size, '\0');
    std::size_t got = 0;
    must(file->read(0, std::as_writable_bytes(std::span(bytes)), got));
    return bytes;
  }

  static std::string record(const Handed& event) {
    return std::to_string(event.id.run.bytes[15]) + ' ' + std::to_string(event.id.sequence) + ' ' +
           std::to_string(event.payload.size()) + ' ' + std::to_string(check(event.payload)) + ' ' + event.payload +
           '\n';
  }
  bool append(const std::string& body) {
    const std::string commit = std::to_string(body.size()) + ' ' + std::to_string(check(body)) + '\n' + body;
    log_end_ += commit.size();
    return write(*log_, log_end_ - commit.size(), commit);
  }

  // After a kill what was found may stand in the page cache only, where a failed sync has left it for clean. Half of a
  // request could be delivered, and the other half be gone with the power; so all of it is written anew.
  void keep_backlog() {
    std::string body;
    for (const Handed& event : backlog_) body += record(event);
    if (!body.empty() && !append(body)) throw std::runtime_error("cannot write what was found");
    must(log_->sync());
  }

  // The commits that are whole, up to the first that is not.
  void recover(const std::string& bytes) {
    std::istringstream all(bytes);
    for (std::size_t size = 0, sum = 0; all >> size >> sum && all.get() == '\n' && size <= bytes.size();) {
      std::string body(size, '\0');
      all.read(body.data(), static_cast<std::streamsize>(size));
      const bool whole = all && check(body) == sum;
      if (!whole && !wrong_.takes_halves && !wrong_.trusts_any_line) return;
      recover_events(body);
      if (!whole) return;
    }
  }
  void recover_events(const std::string& body) {
    std::istringstream events(body);
    std::size_t run = 0, sequence = 0, size = 0, sum = 0;
    while (events >> run >> sequence >> size >> sum && events.get() == ' ' && size <= body.size()) {
      Handed event{{{}, sequence}, std::string(size, '\0')};
      event.id.run.bytes[15] = static_cast<std::uint8_t>(run);
      events.read(event.payload.data(), static_cast<std::streamsize>(size));
      if (!wrong_.trusts_any_line && (!events || check(event.payload) != sum)) return;
      if (wrong_.counts_on) next_ = std::max<std::uint64_t>(next_, sequence + 1);
      if (found_.insert(to_string(event.id)).second) backlog_.push_back(std::move(event));
    }
  }
  void recover_settles(const std::string& bytes) {
    std::istringstream lines(bytes);
    std::size_t sum = 0;
    for (std::string id; lines >> id >> sum && check(id) == sum;) finished_.insert(id);
  }

  MemoryDisk& disk_;
  const Wrong wrong_;
  const std::function<bool(std::span<const EventId>)> sync_sink_;  // `written`
  std::vector<EventId> withheld_;                                  // until the sink was synced
  RunId run_;
  std::uint64_t next_ = 1, taken_ = 0;
  std::unique_ptr<DiskFile> log_, done_;
  std::uint64_t log_end_ = 0, done_end_ = 0;
  std::deque<Handed> backlog_;
  std::set<std::string> found_, finished_;
  std::string settles_;
  bool failed_ = false, done_failed_ = false;
};

// It does not tell what it lost, nor does it open on a disk that fails.
constexpr Menu kMenu = {.damage = false, .bad_starts = false};

// What the model says of this journal, over so many seeds, until it has something to say.
Judgement judge(Wrong wrong, std::uint64_t seeds) {
  Judgement all;
  for (std::uint64_t seed = 0; seed < seeds && all.complaints.empty(); ++seed) {
    all += run_scenario(
        seed,
        [&](MemoryDisk& disk, const Setup& setup, std::uint64_t life, std::uint64_t) {
          return std::make_unique<ToyJournal>(disk, setup, life, wrong);
        },
        kMenu);
  }
  return all;
}

constexpr std::uint64_t kEnough = 100;  // to see that nothing is wrong
constexpr std::uint64_t kMost = 10000;  // until a fault is found; most are within ten

EventId id(std::uint8_t run, std::uint64_t sequence) {
  EventId made{{}, sequence};
  made.run.bytes[15] = run;
  return made;
}

std::vector<std::string> one(const std::string& payload) { return {payload}; }

// What the oracle complains of, given what the file holds in the end.
std::size_t complaints(Oracle& oracle, SinkFile::Lines file) {
  oracle.drained(file);
  return oracle.complaints().size();
}

}  // namespace

TEST_SUITE_BEGIN("model");

TEST_CASE("model: a journal that is right passes, and the runs are about something") {
  const Judgement all = judge({}, kEnough);
  for (const auto& complaint : all.complaints) MESSAGE(complaint);
  CHECK(all.complaints.empty());
  CHECK(all.power_cuts > kEnough);
  CHECK(all.kills > kEnough / 2);
  CHECK(all.cut_in_recovery > kEnough / 10);
  CHECK(all.acknowledged > 20 * kEnough);
  CHECK(all.refused > kEnough / 10);
  CHECK(all.unknown > kEnough / 10);
}

TEST_CASE("model: a journal that answers before it syncs is convicted") {
  CHECK_FALSE(judge({.answers_before_sync = true}, kMost).complaints.empty());
}
TEST_CASE("model: a journal that never syncs its names is convicted") {
  CHECK_FALSE(judge({.never_syncs_names = true}, kMost).complaints.empty());
}
TEST_CASE("model: a journal that takes the half of a torn request is convicted") {
  CHECK_FALSE(judge({.takes_halves = true}, kMost).complaints.empty());
}
TEST_CASE("model: a journal that gives a number twice is convicted") {
  CHECK_FALSE(judge({.counts_on = true}, kMost).complaints.empty());
}
TEST_CASE("model: a journal that believes the second sync is convicted") {
  CHECK_FALSE(judge({.syncs_once_more = true}, kMost).complaints.empty());
}
TEST_CASE("model: a journal that checks nothing is convicted") {
  CHECK_FALSE(judge({.trusts_any_line = true}, kMost).complaints.empty());
}
TEST_CASE("model: a journal that takes what it refuses is convicted") {
  CHECK_FALSE(judge({.takes_what_it_refuses = true}, kMost).complaints.empty());
}
TEST_CASE("model: a journal that says its settles are synced, and lies, is convicted") {
  CHECK_FALSE(judge({.forgets_settles = true}, kMost).complaints.empty());
}
TEST_CASE("model: a journal that hands an event out again, after it was delivered, is convicted") {
  CHECK_FALSE(judge({.hands_out_twice = true}, kMost).complaints.empty());
}

TEST_CASE("model: a journal that delivers what a kill left in the page cache only is convicted") {
  CHECK_FALSE(judge({.trusts_the_cache = true}, kMost).complaints.empty());
}

TEST_CASE("model: a journal that settles what its sink has not synced is convicted") {
  CHECK_FALSE(judge({.settles_at_once = true}, kMost).complaints.empty());
}

TEST_CASE("model: the same seed judges the same") {
  std::string first, second;
  const auto into = [](std::string& text) { return [&text](std::string_view line) { text.append(line) += '\n'; }; };
  const Starter start = [](MemoryDisk& disk, const Setup& setup, std::uint64_t life, std::uint64_t) {
    return std::make_unique<ToyJournal>(disk, setup, life, Wrong{});
  };
  CHECK(run_scenario(7, start, kMenu, into(first)).complaints.empty());
  CHECK(run_scenario(7, start, kMenu, into(second)).complaints.empty());
  CHECK(first == second);
  CHECK(first.size() > 100);
}

TEST_CASE("model: what was acknowledged must be there, unless it was only to survive a kill and the power went") {
  for (const bool cut : {false, true}) {
    for (const Promise promise : {Promise::survives_kill, Promise::survives_power}) {
      for (const bool synced : {false, true}) {
        Oracle oracle;
        oracle.acknowledge(oracle.send(one("a")), id(1, 1), promise);
        if (synced) oracle.synced();
        oracle.next_life(cut);
        CHECK(complaints(oracle, {}) == (cut && promise == Promise::survives_kill && !synced ? 0 : 1));
      }
    }
  }
}

TEST_CASE("model: what nobody answered is there whole or not at all, what was refused never") {
  const std::vector<std::string> two = {"a", "b"};
  Oracle whole, absent, half, refused;
  whole.send(two);
  absent.send(two);
  half.send(two);
  refused.refuse(refused.send(two));
  CHECK(complaints(whole, {{id(1, 1), Oracle::hash("a")}, {id(1, 2), Oracle::hash("b")}}) == 0);
  CHECK(complaints(absent, {}) == 0);
  CHECK(complaints(half, {{id(1, 2), Oracle::hash("b")}}) == 1);
  CHECK(complaints(refused, {{id(1, 1), Oracle::hash("a")}, {id(1, 2), Oracle::hash("b")}}) == 1);
}

TEST_CASE("model: an id never meets another event, nor an event another id, nor anybody an event that nobody sent") {
  Oracle oracle;
  oracle.send(one("a"));
  oracle.send(one("b"));
  oracle.shown(id(1, 1), "a");
  oracle.shown(id(1, 1), "a");
  CHECK(oracle.complaints().empty());
  oracle.shown(id(1, 1), "b");
  CHECK(oracle.complaints().size() == 1);
  oracle.handed_out(id(2, 1), "a");
  CHECK(oracle.complaints().size() == 2);
  oracle.handed_out(id(1, 2), "c");
  CHECK(oracle.complaints().size() == 3);
}

TEST_CASE("model: what was handed out comes again only in another life, what was settled for good in none") {
  Oracle oracle;
  oracle.send(one("a"));
  oracle.handed_out(id(1, 1), "a");
  oracle.shown(id(1, 1), "a");
  oracle.delivered(id(1, 1));
  oracle.next_life(false);
  oracle.handed_out(id(1, 1), "a");
  CHECK(oracle.complaints().empty());
  oracle.handed_out(id(1, 1), "a");
  CHECK(oracle.complaints().size() == 1);
  oracle.delivered(id(1, 1));
  oracle.shown(id(1, 1), "a");
  CHECK(oracle.complaints().size() == 2);
  oracle.settled_for_good(id(1, 1));
  oracle.next_life(true);
  oracle.handed_out(id(1, 1), "a");
  CHECK(oracle.complaints().size() == 3);
}

TEST_CASE("model: only so many events may be missing as the journal has called lost") {
  for (const std::uint64_t lost : {0U, 1U, 2U}) {
    Oracle oracle;
    oracle.acknowledge(oracle.send(one("a")), id(1, 1), Promise::survives_power);
    oracle.acknowledge(oracle.send(one("b")), id(1, 2), Promise::survives_power);
    oracle.excuse(lost);
    CHECK(complaints(oracle, {}) == 2 - lost);
  }
}

TEST_CASE("model: the sink says delivered for nothing that a power cut can take") {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    MemoryDisk disk(seed);
    SinkFile::create(disk);
    std::set<std::uint64_t> delivered;
    disk.end_at_call(End::power_cut, 1 + seed % 40, static_cast<Moment>(seed % 3));
    for (std::uint64_t i = 0; !disk.ended(); ++i) {
      try {
        SinkFile sink(disk, SinkFile::Syncs::by_itself);
        if (i % 3 == 0) disk.fail({.call = i % 2 == 0 ? Call::sync : Call::write, .nth = 2});
        for (std::uint64_t batch = 0; batch < 4 && !disk.ended(); ++batch) {
          const std::vector<Handed> events = {{id(1, 8 * i + 2 * batch), "x"}, {id(1, 8 * i + 2 * batch + 1), "y"}};
          if (sink.append(events)) delivered.insert({events[0].id.sequence, events[1].id.sequence});
        }
      } catch (const std::system_error&) {
        disk.heal();
      }
    }
    std::set<std::uint64_t> there;
    for (const auto& [whose, hash] : SinkFile::parse(disk.reboot()->bytes("sink")).first) there.insert(whose.sequence);
    CHECK(std::includes(there.begin(), there.end(), delivered.begin(), delivered.end()));
    CHECK((seed % 40 < 10 || !delivered.empty()));
  }
}

TEST_SUITE_END();
