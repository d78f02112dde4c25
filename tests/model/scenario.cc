// The steps of a life, and how often each is thrown. The shares are wide on purpose: a run that never delivers reaches
// the limit, one that keeps an event back makes the journal copy, one that ends at once hits the recovery.
#include "model/scenario.h"

#include <algorithm>
#include <array>
#include <exception>
#include <memory>
#include <mutex>
#include <sstream>
#include <utility>

#include "journal/format.h"
#include "model/dice.h"
#include "model/oracle.h"
#include "model/sink_file.h"

namespace model {
namespace {

constexpr std::size_t kMostRequests = 4;  // in a commit
constexpr std::size_t kMostEvents = 9;    // in a request
constexpr std::size_t kSteps = 95;        // of a hundred, those in which nothing goes wrong

class Scenario {
 public:
  Scenario(std::uint64_t seed, const Starter& start, Menu menu, Trace trace)
      : dice_(seed),
        start_(start),
        menu_(menu),
        trace_(std::move(trace)),
        crash_loop_(seed % 20 == 19),  // not thrown: all other seeds give the run that they gave before there were any
        disk_(std::make_unique<MemoryDisk>(dice_.next())) {
    choose_flags();
    setup_.log = trace_;
    eagerness_ = dice_.below(5);
  }

  Judgement run() {
    SinkFile::create(*disk_);
    bring_destruction();
    if (dice_.coin()) disk_->put_elsewhere(std::string(SinkFile::kName));
    say_flags();
    if (crash_loop_) crash_loop();
    const std::size_t lives = dice_.between(1, 5);
    for (std::size_t i = 0; i < lives && oracle_.complaints().empty(); ++i) one_life();
    if (oracle_.complaints().empty()) last_life();
    judgement_.acknowledged = oracle_.acknowledged();
    judgement_.complaints = oracle_.complaints();
    return judgement_;
  }

 private:
  template <typename... Words>
  void say(const Words&... words) {
    if (!trace_) return;
    std::ostringstream line;
    line << judgement_.lives << '/' << disk_->changing_calls() << ':';
    ((line << ' ' << words), ...);
    trace_(line.view());
  }

  // ---- flags

  void choose_flags() {
    setup_.segment_bytes = menu_.least_segment << dice_.below(2);
    setup_.journal_bytes = setup_.segment_bytes * 8;
    setup_.ack = dice_.one_in(3) ? sluice::Ack::written : sluice::Ack::synced;
    if (menu_.queued && dice_.one_in(3)) setup_.ack = sluice::Ack::queued;
  }

  void say_flags() {
    constexpr std::array kNames{"queued", "written", "synced"};
    say("segment", setup_.segment_bytes, "journal", setup_.journal_bytes, kNames.at(static_cast<int>(setup_.ack)));
  }

  void change_flags() {
    const std::uint64_t before = setup_.journal_bytes;
    choose_flags();
    say_flags();
    if (setup_.journal_bytes < before) calm_ = false;  // it may have more than that already
  }

  // ---- lives

  void one_life() {
    if (dice_.one_in(6)) change_flags();
    plan_an_end();
    if (dice_.one_in(6)) misfortune();
    if (menu_.bad_starts && dice_.one_in(5)) bad_start();
    kept_back_ = dice_.one_in(3) ? dice_.between(1, 3) : 0;
    if (begin()) {
      const std::size_t steps = dice_.below(std::size_t{1} << dice_.between(2, 7));
      for (std::size_t i = 0; i < steps && !disk_->ended(); ++i) {
        step();
        if (dice_.one_in(50)) start_another();
        look_for_complaint();
      }
      if (!disk_->ended() && dice_.one_in(4)) close(dice_.one_in(3), dice_.coin());
    } else if (disk_->ended()) {
      ++judgement_.cut_in_recovery;
    }
    end();
  }

  // Whatever starts it again does so at once: fifty lives that end as soon as each has taken a little. Nothing goes
  // wrong with the disk.
  void crash_loop() {
    constexpr std::size_t kLives = 50;
    const bool delivers = dice_.coin();
    for (std::size_t i = 0; i < kLives && oracle_.complaints().empty(); ++i) {
      if (dice_.one_in(4)) plan_an_end();
      if (begin()) {
        const std::size_t steps = dice_.below(6);
        for (std::size_t n = 0; n < steps && !disk_->ended(); ++n) {
          delivers ? step(kSteps) : commit_some();
          look_for_complaint();
        }
      } else if (disk_->ended()) {
        ++judgement_.cut_in_recovery;
      }
      end();
    }
  }

  void plan_an_end() {
    const End how = dice_.one_in(3) ? End::kill : End::power_cut;
    switch (dice_.below(4)) {
      case 0:
        break;  // it will end where its steps end
      case 1: {
        const auto when = static_cast<sluice::Instant>(dice_.below(sluice::kInstants));
        const std::size_t nth = dice_.between(1, 4);
        say("will end", how == End::kill ? "by kill" : "by cut", "at instant", static_cast<int>(when), "passed", nth);
        disk_->end_at(how, when, nth);
        break;
      }
      default: {
        const std::size_t nth = 1 + dice_.below(std::size_t{1} << dice_.between(1, 9));
        const auto moment = static_cast<Moment>(dice_.below(3));
        say("will end", how == End::kill ? "by kill" : "by cut", "at call", nth, "moment", static_cast<int>(moment));
        disk_->end_at_call(how, nth, moment);
      }
    }
  }

  // The journal opens; false: the world ended meanwhile, or the journal broke its promise to open.
  bool begin() {
    for (bool again = true;; again = false) {
      const std::uint64_t life = judgement_.lives++;
      began_badly_ = misfortunes_;
      try {
        const bool written = setup_.ack == sluice::Ack::written;
        sink_ = std::make_shared<SinkFile>(*disk_, written ? SinkFile::Syncs::when_asked : SinkFile::Syncs::by_itself);
        setup_.sync_sink = [sink = sink_](std::span<const sluice::EventId> ids) { return sink->sync(ids); };
        life_ = start_(*disk_, setup_, life, dice_.next());
        say("open");
        look_for_losses();
        look_for_kept();
        if (disk_->ended()) close(false, false);
        return !disk_->ended();
      } catch (const std::exception& failed) {
        say("does not open:", failed.what());
        life_.reset();
        if (disk_->ended()) return false;
        const bool may_fail = misfortunes_ && (!sink_ || !menu_.bad_starts);
        sink_.reset();
        if (!again || !may_fail) {
          oracle_.complain(std::string("does not open: ") + failed.what());
          return false;
        }
        heal();
      }
    }
  }

  // However it goes: the process is gone, and with it what only memory held.
  void end() {
    if (!disk_->ended()) {
      say("ends here");
      disk_->end(dice_.one_in(3) ? End::kill : End::power_cut);
    }
    // A failed sync has thrown pages away that nobody came to write anew: then even a kill takes what was only written.
    const bool lost_pages = life_ && life_->lost_pages();
    if (lost_pages) oracle_.excuse(life_->thrown_away());
    unsure_ += disk_->spoiled();
    // A settle that is destroyed costs a redelivery, and is not the journal's fault.
    if (disk_->destroyed([](std::string_view name) { return name.ends_with(".settled"); }) > 0)
      oracle_.forget_settles();
    if (life_) look_for_complaint();
    life_.reset();
    sink_.reset();
    setup_.sync_sink = nullptr;
    hand_.clear();
    unsynced_.clear();
    settling_.clear();
    cut_ = disk_->ended_by() == End::power_cut;
    thrown_away_ = !cut_ && (thrown_away_ || lost_pages);
    say(cut_ ? "power is lost" : "killed", lost_pages ? "behind a failed sync" : "");
    ++(cut_ ? judgement_.power_cuts : judgement_.kills);
    oracle_.next_life(cut_ || lost_pages);
    for (std::size_t i = 0; i < sluice::kInstants; ++i) {
      judgement_.passed[i] += disk_->passed(static_cast<sluice::Instant>(i));
    }
    disk_ = disk_->reboot();
    bring_destruction();
    misfortunes_ = full_;
    removed_ = false;
  }

  // Nothing goes wrong any more: everything is delivered, the journal takes events again, and what is finished never
  // comes back.
  void last_life() {
    heal();
    kept_back_ = 0;
    if (menu_.damage && dice_.one_in(12)) damage();
    if (!begin()) return;
    drain();
    if (damaged_) oracle_.excuse(life_->lost());
    bool taken = false;
    for (std::size_t i = 0; i < menu_.tries && !taken; ++i) {
      taken = commit({{payload(0)}}) == 1;
      life_->maintain();
    }
    if (!taken) oracle_.complain("takes nothing, though it is empty and the disk is well");
    drain();
    const bool well = close(false, false);
    if (!well) oracle_.complain("does not close, though it is empty and the disk is well");
    end();
    oracle_.drained(SinkFile::parse(disk_->bytes(std::string(SinkFile::kName))).first);

    if (!begin()) return;
    const std::uint64_t before = judgement_.handed_out;
    take(1000);
    if (well && judgement_.handed_out > before) oracle_.complain("events come again after a drain and an orderly end");
    close(false, false);
  }

  // An orderly end, perhaps while requests are on their way, perhaps with sinks that go on to deliver. True: all that
  // it leaves survives power loss.
  bool close(bool under_load, bool delivering) {
    say("close", under_load ? "under load" : "", delivering ? "delivering" : "");
    const std::vector<Asked> requests = under_load ? some_requests() : std::vector<Asked>();
    const std::vector<std::uint64_t> numbers = send(requests);
    std::vector<Answer> answers;
    std::mutex mutex;
    std::vector<sluice::EventId> late;  // guarded by `mutex`, as is what the workers touch meanwhile
    const Deliver deliver = [&](std::span<const Handed> batch) {
      const std::scoped_lock lock(mutex);
      return deliver_late(batch, late);
    };
    const Stop stop = life_->close(requests, answers, delivering ? deliver : Deliver());
    book(requests, numbers, answers);
    look_for_complaint();
    say("closed", stop.drained ? "drained" : "",
        stop.for_good    ? "for good"
        : stop.accounted ? "accounted"
                         : "",
        "lost", stop.lost);
    // An end in between came first: what it refused after it is nobody's loss.
    if (disk_->ended() && !stop.for_good) return false;
    if (stop.lost > 0 && !misfortunes_ && stop.accounted) {
      oracle_.complain("the stop has lost " + std::to_string(stop.lost) + ", though the disk was well");
    }
    oracle_.excuse(stop.lost);
    if (stop.accounted) oracle_.stopped();
    if (!stop.for_good) return false;
    kept_ = stop.kept;
    oracle_.synced();
    for (const sluice::EventId& id : settling_) oracle_.settled_for_good(id);
    settling_.clear();
    if (!stop.synced) return true;
    // What a worker delivered around the deadline may count as kept.
    if (stop.drained) unsynced_.insert(unsynced_.end(), late.begin(), late.end());
    for (const sluice::EventId& id : unsynced_) {
      if (!sink_->is_undone(id)) oracle_.settled_for_good(id);
    }
    unsynced_.clear();
    return true;
  }

  // A worker's, while everybody else waits for the end.
  bool deliver_late(std::span<const Handed> batch, std::vector<sluice::EventId>& delivered) {
    if (kept_back_ > 0 && dice_.one_in(3)) return false;
    for (const Handed& event : batch) {
      if (std::ranges::find(hand_, event.id, &Handed::id) != hand_.end()) continue;
      hand_out(event);
      hand_.push_back(event);
    }
    return append_to_sink(batch, delivered);
  }

  void drain() {
    say("drain");
    for (std::size_t i = 0; i < menu_.tries; ++i) {
      take(1000);
      deliver(deliverable());
      sync_sink();
      sync_settles();
      life_->maintain();
      if (life_->all_taken() && hand_.empty()) return;
    }
    oracle_.complain("a drain does not end");
  }

  // ---- steps

  void step(std::size_t of = 100) {
    const std::size_t thrown = dice_.below(of);
    if (thrown < 40) {
      commit_some();
    } else if (thrown < 52 + 2 * eagerness_) {
      take(dice_.between(1, 12));
    } else if (thrown < 64 + 3 * eagerness_) {
      deliver(dice_.below(deliverable() + 1));
    } else if (thrown < 77) {
      life_->write_settles();
    } else if (thrown < 80) {
      sync_sink();
    } else if (thrown < 84) {
      sync_settles();
    } else if (thrown < 88) {
      if (life_->sync()) oracle_.synced();
    } else if (thrown < 95) {
      say("maintain");
      life_->maintain();
    } else if (thrown < 97) {
      misfortune();
    } else {
      heal();
    }
  }

  void commit_some() { commit(some_requests()); }

  std::vector<Asked> some_requests() {
    std::vector<Asked> requests(dice_.between(1, kMostRequests));
    std::uint64_t number = requests_;
    for (Asked& asked : requests) {
      const std::size_t events = dice_.one_in(3) ? dice_.between(2, kMostEvents) : 1;
      for (std::size_t i = 0; i < events; ++i) asked.push_back(payload(i, number));
      ++number;
    }
    return requests;
  }

  // How many were acknowledged.
  std::size_t commit(const std::vector<Asked>& requests) {
    const std::vector<std::uint64_t> numbers = send(requests);
    return book(requests, numbers, life_->commit(requests));
  }

  std::vector<std::uint64_t> send(const std::vector<Asked>& requests) {
    std::vector<std::uint64_t> numbers;
    for (const Asked& asked : requests) numbers.push_back(oracle_.send(asked));
    requests_ += requests.size();
    return numbers;
  }

  [[nodiscard]] Promise promise() const {
    switch (setup_.ack) {
      case sluice::Ack::queued:
        return Promise::survives_stop;
      case sluice::Ack::written:
        return Promise::survives_kill;
      case sluice::Ack::synced:
        break;
    }
    return Promise::survives_power;
  }

  std::size_t book(const std::vector<Asked>& requests, const std::vector<std::uint64_t>& numbers,
                   const std::vector<Answer>& answers) {
    std::size_t acknowledged = 0;
    for (std::size_t i = 0; i < answers.size(); ++i) {
      switch (answers[i].kind) {
        case Answer::acknowledged:
          ++acknowledged;
          say("request", numbers[i], "of", requests[i].size(), "acknowledged from", to_string(answers[i].first));
          oracle_.acknowledge(numbers[i], answers[i].first, promise());
          break;
        case Answer::refused:
          ++judgement_.refused;
          say("request", numbers[i], "refused");
          oracle_.refuse(numbers[i]);
          break;
        case Answer::unknown:
          ++judgement_.unknown;
          say("request", numbers[i], "of", requests[i].size(), "unknown");
          break;
        case Answer::none:
          oracle_.complain("request " + std::to_string(numbers[i]) + " was never answered");
          break;
      }
    }
    // What was only written went to the files that somebody has removed; nobody looks before the next sync.
    if (removed_ && setup_.ack != sluice::Ack::synced) oracle_.write_off();
    return acknowledged;
  }

  void take(std::size_t most) {
    for (Handed& event : life_->take(most)) {
      hand_out(event);
      hand_.push_back(std::move(event));
    }
    look_for_losses();
    look_for_complaint();
  }

  void hand_out(const Handed& event) {
    ++judgement_.handed_out;
    say("handed out", to_string(event.id));
    oracle_.handed_out(event.id, event.payload);
  }

  void look_for_losses() {
    // What a failed sync has thrown away may be there when a start looks, and not when it can at last be written anew.
    const auto of_a_segment = [](std::string_view name) { return name.starts_with("segment-"); };
    const bool thrown_away = thrown_away_ || (began_badly_ && disk_->failed_syncs(of_a_segment) > 0);
    // A file without a header may have had events, as long as its settled file, which has a copy, cannot be read.
    const auto of_settles = [](std::string_view name) { return name.ends_with(".settled"); };
    if (damaged_ || thrown_away || life_->lost() <= unsure_ + disk_->failed_reads(of_settles)) return;
    oracle_.complain("lost " + std::to_string(life_->lost()) + ", though nothing was damaged");
  }

  // What the last stop has called kept, for good. What was delivered and not settled comes again, too.
  void look_for_kept() {
    const std::uint64_t kept = std::exchange(kept_, 0);
    const std::optional<std::uint64_t> replayed = life_->replayed();
    if (!replayed || *replayed >= kept || damaged_ || began_badly_ || disk_->ended()) return;
    oracle_.complain("the stop has kept " + std::to_string(kept) + ", the start finds " + std::to_string(*replayed));
  }

  void look_for_complaint() {
    if (const std::string what = life_->complaint(); !what.empty()) oracle_.complain(what);
    // What a stop has written down under `queued` comes when its turn is over, in whatever life.
    was_queued_ = was_queued_ || setup_.ack == sluice::Ack::queued;
    if (const auto found = life_->overtaken(); found && !damaged_ && !was_queued_)
      oracle_.overtaken(found->event, found->by);
    if (calm_) {
      if (const std::string what = life_->overuse(); !what.empty()) oracle_.complain(what);
    }
  }

  [[nodiscard]] std::size_t deliverable() const { return hand_.size() - std::min(kept_back_, hand_.size()); }

  // Some of those in hand, in any order: workers are several, and some events are slow.
  void deliver(std::size_t count) {
    if (count == 0) return;
    for (std::size_t i = 0; i < count; ++i) {
      std::swap(hand_[hand_.size() - 1 - i], hand_[kept_back_ + dice_.below(deliverable() - i)]);
    }
    const std::span<const Handed> batch = std::span(hand_).last(count);
    std::vector<sluice::EventId> ids;
    if (!append_to_sink(batch, ids)) return;
    unsynced_.insert(unsynced_.end(), ids.begin(), ids.end());
    life_->settle(ids);
    if (setup_.ack != sluice::Ack::written) all_synced();
    hand_.resize(hand_.size() - count);
  }

  [[nodiscard]] bool append_to_sink(std::span<const Handed> batch, std::vector<sluice::EventId>& delivered) {
    for (const Handed& event : batch) oracle_.offered(event.id);
    if (!sink_->append(batch)) {
      say("the sink failed");
      return false;
    }
    for (const Handed& event : batch) {
      say("delivered", to_string(event.id));
      oracle_.delivered(event.id);
      delivered.push_back(event.id);
    }
    return true;
  }

  void sync_sink() {
    if (setup_.ack != sluice::Ack::written) return;
    const bool synced = life_->sync_sink();
    say("sync of the sink:", synced ? "done" : "failed, or somebody else's");
    if (synced) all_synced();
  }
  void all_synced() {
    for (const sluice::EventId& id : unsynced_) {
      if (!sink_->is_undone(id)) settling_.push_back(id);
    }
    unsynced_.clear();
  }

  void sync_settles() {
    life_->write_settles();
    if (!life_->sync_settles()) return;
    say("settles are synced");
    for (const sluice::EventId& id : settling_) oracle_.settled_for_good(id);
    settling_.clear();
  }

  // ---- what goes wrong

  void misfortune() {
    misfortunes_ = true;
    calm_ = false;
    if (menu_.removed_directory && dice_.one_in(12)) return remove_directory();
    if (menu_.removed_files && life_ && dice_.one_in(8)) return remove_file();
    if (dice_.one_in(4)) {
      const std::uint64_t room = disk_->used() + dice_.below(setup_.journal_bytes);
      say("the disk has room for", room);
      full_ = true;
      return disk_->set_capacity(room);
    }
    Fault fault;
    fault.call = static_cast<Call>(dice_.below(static_cast<std::size_t>(Call::hold)));
    if (dice_.one_in(8)) fault.call = static_cast<Call>(dice_.below(kCalls));
    fault.nth = dice_.between(1, 6);
    fault.error = dice_.coin() ? std::errc::io_error : std::errc::no_space_on_device;
    fault.lasts = dice_.one_in(3);
    const bool of_the_sink = dice_.one_in(6);
    fault.where = [of_the_sink](std::string_view name) { return (name == SinkFile::kName) == of_the_sink; };
    say("call", static_cast<int>(fault.call), "will fail, the next but", fault.nth - 1, fault.lasts ? "and on" : "once",
        of_the_sink ? "at the sink" : "");
    disk_->fail(std::move(fault));
  }

  // A life that begins on a disk that is full, or takes nothing, or is away for a while.
  void bad_start() {
    misfortunes_ = true;
    calm_ = false;
    switch (dice_.below(4)) {
      case 0:
        say("the disk is away");
        disk_->fail({.call = dice_.coin() ? Call::hold : Call::list, .lasts = true});
        break;
      case 1:
        say("the disk is read-only");
        disk_->make_read_only();
        break;
      default:
        say("the disk is full");
        full_ = true;
        disk_->set_capacity(disk_->used() + (dice_.coin() ? 0 : dice_.below(setup_.segment_bytes)));
    }
  }

  // Not of the sink's file: it is the model's own, and appends within its last block.
  void bring_destruction() {
    if (!menu_.destruction) return;
    disk_->destroy_what_fails([](std::string_view name) { return name != SinkFile::kName; });
  }

  void heal() {
    say("the disk is well again");
    full_ = false;
    disk_->heal();
  }

  void remove_directory() {
    say("somebody removes the directory");
    disk_->remove_directory(std::string(SinkFile::kName));
    kept_ = 0;
    oracle_.write_off();
    removed_ = true;
  }

  // And the journal looks before anything else happens. What it says then about others may be gone with it, so finished
  // events may come again.
  void remove_file() {
    std::vector<std::string> names = disk_->names();
    std::erase_if(names, [](std::string_view name) {
      const auto parsed = sluice::journal::parse_name(name);
      return !parsed || parsed->what != sluice::journal::FileName::What::segment;
    });
    if (names.empty()) return;
    const std::string& name = names[dice_.below(names.size())];
    disk_->remove_file(name);
    oracle_.forget_settles();
    ++unsure_;  // where its predecessor ends was perhaps said by this one's header alone
    const bool seen = life_->look_for_names();
    say("somebody removes", name, seen ? "and it is written anew" : "");
    if (seen) return;
    oracle_.write_off();
    removed_ = true;
  }

  // A second process, while this one runs: it is refused, and touches nothing. Not where threads are at work: a life
  // sets the disk up before there are any.
  void start_another() {
    if (menu_.threads || misfortunes_ || disk_->ended()) return;
    const std::shared_ptr<MemoryDisk> its = disk_->of_another_process();
    const std::uint64_t before = disk_->changing_calls();
    try {
      start_(*its, setup_, judgement_.lives, dice_.next());
      oracle_.complain("two processes have the journal");
    } catch (const std::exception& refused) {
      say("another start:", refused.what());
    }
    if (disk_->changing_calls() != before) oracle_.complain("a start that was refused wrote something");
  }

  // What was durable is not what it was. Whatever had no successor yet may pass for torn: one bit makes that of the
  // last commit, a hole at the end of what is in a file, or a file that is cut there, of as many events as it may have
  // had.
  void damage() {
    std::vector<std::string> names = disk_->names();
    std::erase(names, SinkFile::kName);
    if (names.empty()) return;
    const std::string& name = names[dice_.below(names.size())];
    std::string bytes = disk_->bytes(name);
    if (bytes.empty()) return;
    const std::size_t content = bytes.find_last_not_of('\0') + 1;  // 0: there is none
    const std::size_t at = dice_.below(bytes.size());
    const std::size_t to = std::min(bytes.size(), at + dice_.between(1, std::size_t{2} << dice_.below(14)));
    bool at_the_end = to >= content;
    const std::size_t how = dice_.below(6);
    say("damage", name, "at", at, "to", to, "of", content, "how", how);
    switch (how) {
      case 0:
        std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.begin() + static_cast<std::ptrdiff_t>(to),
                  '\0');
        break;
      case 1:
        for (std::size_t i = at; i < to; ++i) bytes[i] = static_cast<char>(dice_.below(256));
        break;
      case 2:
        bytes.resize(at);
        at_the_end = true;
        break;
      case 3:
        disk_->make_unreadable(name, at, to);
        break;
      default:
        bytes[at] = static_cast<char>(bytes[at] ^ static_cast<char>(1U << dice_.below(8)));
        at_the_end = false;
    }
    if (how != 3) disk_->replace(name, bytes);
    damaged_ = true;
    calm_ = false;
    oracle_.forget_settles();
    constexpr std::size_t kLeastEvent = 56;
    oracle_.excuse(at_the_end ? content / kLeastEvent : kMostRequests * kMostEvents);
  }

  // ---- payloads

  std::string payload(std::size_t index) { return payload(index, requests_); }

  std::string payload(std::size_t index, std::uint64_t request) {
    std::string text = 'r' + std::to_string(request) + '.' + std::to_string(index) + ';';
    switch (dice_.below(12)) {
      case 0:
        return text;
      case 1:
        return text + piece_of_the_journal();
      case 2:
        return text + std::string(dice_.between(3000, setup_.segment_bytes / 4), 'b');
      case 3:
        if (dice_.one_in(6)) return text + std::string(setup_.segment_bytes + dice_.below(5000), 'h');
        [[fallthrough]];
      default:
        return text + std::string(dice_.below(300), 's');
    }
  }

  // A payload that looks like records: what stands on the disk, at each of the offsets from a multiple of eight.
  std::string piece_of_the_journal() {
    std::vector<std::string> names = disk_->names();
    // The committer may have removed it meanwhile.
    const std::string bytes = disk_->bytes_if_there(names[dice_.below(names.size())]).value_or("");
    const std::size_t from = dice_.below(std::min<std::size_t>(bytes.size(), 12000) / 8 + 1) * 8;
    return std::string(dice_.below(8), 'p') + bytes.substr(from, dice_.below(800));
  }

  Dice dice_;
  const Starter& start_;
  const Menu menu_;
  const Trace trace_;
  const bool crash_loop_;
  std::unique_ptr<MemoryDisk> disk_;
  Setup setup_;
  std::size_t eagerness_ = 0;  // to deliver
  Oracle oracle_;
  Judgement judgement_;
  std::uint64_t requests_ = 0;
  bool misfortunes_ = false;   // in this life
  bool calm_ = true;           // nothing has gone wrong in any life but its end
  bool removed_ = false;       // the directory, in this life
  bool full_ = false;          // the disk, perhaps; a reboot makes no room
  std::size_t kept_back_ = 0;  // so many of the first are not delivered in this life
  bool damaged_ = false;
  bool was_queued_ = false;   // in any life
  bool cut_ = false;          // is how the last life ended
  bool began_badly_ = false;  // this life: on a disk that may have refused what a start has to write
  std::uint64_t kept_ = 0;    // by the stop of the last life, for good
  // Files that stand for one lost event at least, though none is: noise that no header tells about, for one.
  std::uint64_t unsure_ = 0;
  bool thrown_away_ = false;  // pages, by a failed sync, and no power cut has made an end of them

  // Of this life; the life goes first.
  std::vector<Handed> hand_;               // taken and not delivered
  std::vector<sluice::EventId> unsynced_;  // delivered, and perhaps still to be synced by the sink
  std::vector<sluice::EventId> settling_;  // settled, and not for good yet
  std::shared_ptr<SinkFile> sink_;         // owners: we, and each sink of a life
  std::unique_ptr<Life> life_;
};

}  // namespace

Judgement& Judgement::operator+=(const Judgement& other) {
  complaints.insert(complaints.end(), other.complaints.begin(), other.complaints.end());
  lives += other.lives;
  power_cuts += other.power_cuts;
  kills += other.kills;
  cut_in_recovery += other.cut_in_recovery;
  acknowledged += other.acknowledged;
  refused += other.refused;
  unknown += other.unknown;
  handed_out += other.handed_out;
  for (std::size_t i = 0; i < passed.size(); ++i) passed[i] += other.passed[i];
  return *this;
}

Judgement run_scenario(std::uint64_t seed, const Starter& start, Menu menu, Trace trace) {
  return Scenario(seed, start, menu, std::move(trace)).run();
}

}  // namespace model
