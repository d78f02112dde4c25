// What the committer and the feeder do on their threads, one step at a time: see committer.cc and feeder.cc. Whether a
// commit is fed from memory or by the feeder's way, from the disk, is thrown.
#include "model/journal_life.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <utility>
#include <variant>

#include "admission/admission.h"
#include "backlog/block_records.h"
#include "journal/journal.h"
#include "model/dice.h"
#include "queue/block.h"

namespace model {
namespace {

using sluice::Block;
using sluice::journal::Journal;

constexpr std::size_t kReadAhead = 12;              // events
constexpr std::chrono::milliseconds kBetween{300};  // two looks at what is finished

struct IdOrder {
  bool operator()(const sluice::EventId& a, const sluice::EventId& b) const noexcept {
    return a.run == b.run ? a.sequence < b.sequence : a.run.bytes < b.run.bytes;
  }
};

sluice::RunId run_of(Dice& dice) {
  sluice::RunId run;
  for (auto& byte : run.bytes) byte = static_cast<std::uint8_t>(dice.below(256));
  return run;
}

class JournalLife final : public Life {
 public:
  JournalLife(MemoryDisk& disk, const Setup& setup, std::uint64_t seed)
      : disk_(disk),
        dice_(seed),
        run_(run_of(dice_)),
        synced_(setup.ack == sluice::Ack::synced),
        sync_sink_(setup.ack == sluice::Ack::written ? setup.sync_sink : nullptr),
        straight_in_(dice_.below(3)),
        journal_bytes_(setup.journal_bytes),
        door_(std::size_t{1} << 20U, std::size_t{1} << 30U),
        journal_(disk, {.run = run_,
                        .limit_bytes = setup.journal_bytes,
                        .spill_bytes = 0,
                        .log = log_of(setup),
                        .now = [this] { return now_; },
                        .taken_over = [this](std::uint64_t) { known_ = true; }}) {}
  ~JournalLife() override { let_go_unsynced(); }

  std::vector<Answer> commit(std::span<const Asked> requests) override {
    std::vector<Answer> answers(requests.size(), Answer{Answer::refused, {}});
    std::vector<Block::Owner> blocks;
    std::vector<std::size_t> whose;
    std::uint64_t reserved = 0;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      Block::Owner block = block_of(requests[i]);
      const std::uint64_t cost = Journal::cost(block->body().size(), block->count());
      if (journal_.failed() || journal_.try_reserve(cost) != Journal::Room::reserved) continue;
      reserved += cost;
      block->number(run_, sequence_);
      sequence_ += block->count();
      blocks.push_back(std::move(block));
      whose.push_back(i);
    }
    if (blocks.empty()) return answers;
    std::vector<Block*> raw;
    for (const Block::Owner& block : blocks) raw.push_back(block.get());
    Journal::Place place;
    if (sluice::backlog::commit_blocks(journal_, raw, reserved, synced_, place)) {
      journal_.give_back(reserved);
      for (const std::size_t i : whose) answers[i].kind = Answer::unknown;
      return answers;
    }
    // At this moment the feeder may read the disk, and then wait for room with what it has found.
    if (!reading_ && dice_.one_in(4)) reading_ = read(kReadAhead);
    bool straight = dice_.below(3) < straight_in_ && journal_.cursor_at(place.segment, place.begin);
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      Block& block = *blocks[i];
      answers[whose[i]] = {Answer::acknowledged, {run_, block.first_sequence()}};
      block.settle_in(place.segment);
      if (!synced_) {
        block.hold();
        unsynced_.push_back(&block);
      }
      // The window may be full in between, so that the rest comes from the disk.
      straight = straight && !dice_.one_in(8);
      if (!straight) continue;
      for (std::uint32_t n = 0; n < block.count(); ++n) {
        const sluice::Delivery event = block.delivery(n);
        fed_.push_back({event.id, text_of(event.payload)});
        homes_[event.id] = place.segment;
      }
      journal_.fed_from_memory(i + 1 == blocks.size() ? place.end : place.ends[i], block.count(),
                               block.first_sequence() + block.count() - 1);
    }
    journal_.show(place);
    return answers;
  }

  bool sync() override {
    if (journal_.failed() || journal_.sync()) return false;
    let_go_unsynced();
    return true;
  }

  std::vector<Handed> take(std::size_t most) override {
    std::vector<Handed> taken;
    while (taken.size() < most) {
      if (fed_.empty()) {
        // The order of feeding is the order of handing out, so the disk is asked only now.
        if (!reading_) {
          if (!read(most - taken.size())) break;
          // The feeder waits for room with this in its hands, and meanwhile the committer goes on.
          if (dice_.one_in(4)) {
            reading_ = true;
            break;
          }
        }
        reading_ = false;
        for (const sluice::journal::Record& event : backlog_.events) {
          const sluice::EventId id{backlog_.run, event.sequence};
          taken.push_back({id, text_of(event.payload)});
          look_for_disorder(id);
          homes_[id] = backlog_.segment;
        }
        journal_.fed_backlog(backlog_);
        continue;
      }
      look_for_disorder(fed_.front().id);
      taken.push_back(std::move(fed_.front()));
      fed_.pop_front();
    }
    return taken;
  }

  // As the pool and the engine do it: the journal hears of nothing that the sink may still lose.
  void settle(std::span<const sluice::EventId> ids) override {
    withheld_.insert(withheld_.end(), ids.begin(), ids.end());
    if (!sync_sink_) settle_withheld();
  }
  bool sync_sink() override {
    if (!sync_sink_) return true;
    if (sync_sink_(withheld_)) {
      settle_withheld();
      return true;
    }
    withheld_.clear();
    return false;
  }
  void write_settles() override { static_cast<void>(journal_.write_settles()); }
  bool sync_settles() override { return !journal_.sync_settles(); }

  void maintain() override {
    now_ += kBetween;
    if (journal_.failed()) recover();
    journal_.maintain();
  }

  bool look_for_names() override {
    const bool was_open = known_;  // what a start could not read yet is in no descriptor
    const std::error_code unknown = journal_.look_for_names();
    if (journal_.failed()) recover();
    return was_open && !unknown && !journal_.failed() && journal_.nameless() == 0;
  }

  bool all_taken() override { return fed_.empty() && !reading_ && journal_.caught_up(); }
  std::uint64_t lost() const override { return lost_; }
  bool lost_pages() const override {
    const std::uint64_t failed = failed_segment_syncs(disk_);
    return failed > mended_ || (failed > 0 && thrown_away_ > 0);
  }
  std::uint64_t thrown_away() const override { return thrown_away_; }
  std::string complaint() override {
    const std::uint64_t reserved = journal_.reserved();
    return reserved == 0 ? "" : "not given back: bytes of the journal's room: " + std::to_string(reserved);
  }

  std::string overuse() override { return overuse_of(disk_, journal_bytes_); }
  std::optional<Overtaken> overtaken() override { return std::exchange(overtaken_, std::nullopt); }

  Stop close(std::span<const Asked> requests, std::vector<Answer>& answers, const Deliver& /*deliver*/) override {
    answers = commit(requests);
    static_cast<void>(sync_sink());
    if (journal_.failed()) recover();
    const bool closed = !journal_.close();
    if (closed) let_go_unsynced();
    return {.for_good = closed, .accounted = true};
  }

 private:
  sluice::LogHook log_of(const Setup& setup) {
    return [this, log = setup.log](sluice::LogLevel, std::string_view line) {
      thrown_away_ += thrown_away_by(line);
      holds_back_ = holds_back_ || holds_back(line);
      if (log) log(line);
    };
  }
  static std::string text_of(std::span<const std::byte> payload) {
    return {reinterpret_cast<const char*>(payload.data()), payload.size()};
  }

  Block::Owner block_of(const Asked& asked) {
    std::vector<sluice::Event> events;
    for (const std::string& payload : asked) events.push_back({std::as_bytes(std::span(payload)), "text/plain"});
    const Block::Layout layout{.frame = sluice::journal::kEventFrame};
    auto ticket = door_.try_admit(events.size(), Block::bytes_for(events, layout));
    return Block::make(memory_, events, std::get<sluice::Ticket>(std::move(ticket)), layout);
  }

  void look_for_disorder(const sluice::EventId& id) {
    std::uint64_t& last = last_[id.run.bytes];
    if (id.sequence < last && !overtaken_ && !holds_back_) overtaken_ = {id, last};
    last = std::max(last, id.sequence);
  }

  // The feeder's first half: false if there is nothing.
  bool read(std::size_t most) {
    journal_.read_backlog(most, std::size_t{256} << 10U, sluice::backlog::buffers_of(memory_), backlog_);
    lost_ += std::exchange(backlog_.lost, 0);
    return !backlog_.error && !backlog_.events.empty();
  }

  void settle_withheld() {
    for (const sluice::EventId& id : withheld_) journal_.settle(homes_.at(id), id.sequence, 1);
    withheld_.clear();
  }

  void recover() {
    static_cast<void>(journal_.write_settles());
    if (sluice::backlog::recover_blocks(journal_, unsynced_)) return;
    let_go_unsynced();
    mended_ = failed_segment_syncs(disk_);
  }

  void let_go_unsynced() {
    for (Block* const block : unsynced_) block->release(1);
    unsynced_.clear();
  }

  MemoryDisk& disk_;
  Dice dice_;
  const sluice::RunId run_;
  const bool synced_;
  const std::function<bool(std::span<const sluice::EventId>)> sync_sink_;  // `written`
  std::vector<sluice::EventId> withheld_;
  const std::size_t straight_in_;  // 0: never
  const std::uint64_t journal_bytes_;
  sluice::Admission door_;
  sluice::BlockMemory memory_{std::size_t{1} << 20U};
  bool holds_back_ = false;
  std::uint64_t thrown_away_ = 0;
  std::chrono::steady_clock::time_point now_;
  bool known_ = false;  // to the journal, what earlier lives have left
  Journal journal_;
  std::uint64_t sequence_ = 1;
  std::uint64_t lost_ = 0;
  std::uint64_t mended_ = 0;  // so many failed syncs have done no harm
  Journal::Backlog backlog_;
  bool reading_ = false;          // `backlog_` was read, and not fed yet
  std::vector<Block*> unsynced_;  // held
  std::deque<Handed> fed_;        // from memory, not handed out yet
  std::map<sluice::EventId, std::uint64_t, IdOrder> homes_;
  std::map<std::array<std::uint8_t, 16>, std::uint64_t> last_;  // handed out, of each run
  std::optional<Overtaken> overtaken_;
};

}  // namespace

std::uint64_t thrown_away_by(std::string_view line) {
  constexpr std::string_view kEvents = " events=";
  if (!line.starts_with("what was written and not synced cannot be read again")) return 0;
  std::uint64_t events = 0;
  const std::size_t at = line.rfind(kEvents) + kEvents.size();
  std::from_chars(line.data() + at, line.data() + line.size(), events);
  return events;
}

bool holds_back(std::string_view line) {
  return line.find("write anew segment-") != line.npos || line.find(" is to be written anew") != line.npos;
}

std::uint64_t failed_segment_syncs(const MemoryDisk& disk) {
  return disk.failed_syncs([](std::string_view name) {
    const auto parsed = sluice::journal::parse_name(name);
    return parsed && parsed->what == sluice::journal::FileName::What::segment;
  });
}

std::string overuse_of(const MemoryDisk& disk, std::uint64_t journal_bytes) {
  std::size_t segments = 0;
  std::uint64_t bytes = 0;
  for (const auto& [name, size] : disk.sizes()) {
    const auto parsed = sluice::journal::parse_name(name);
    if (parsed && parsed->what == sluice::journal::FileName::What::damaged) continue;  // not the journal's any more
    if (!parsed && !sluice::journal::is_draft(name)) continue;
    bytes += size;
    segments += parsed && parsed->what == sluice::journal::FileName::What::segment ? 1U : 0U;
  }
  if (bytes > journal_bytes) {
    return "takes " + std::to_string(bytes) + " bytes of the disk, and may have " + std::to_string(journal_bytes);
  }
  // One more is begun by a start that finds them all.
  const std::size_t most = Journal::most_segments(journal_bytes) + Journal::kMostLeft + 1;
  return segments <= most ? "" : "has " + std::to_string(segments) + " segments, and may have " + std::to_string(most);
}

Starter journal_starter() {
  return [](MemoryDisk& disk, const Setup& setup, std::uint64_t life, std::uint64_t seed) {
    return std::make_unique<JournalLife>(disk, setup, seed + life * 0x9E3779B97F4A7C15U);
  };
}

}  // namespace model
