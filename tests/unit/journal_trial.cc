// The trials: a start over a disk in memory, a JournalView over a directory.
#include "unit/journal_trial.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <exception>
#include <fstream>
#include <iterator>
#include <map>
#include <utility>

#include "model/memory_disk.h"
#include "sluice/journal.h"
#include "unit/journal_hand.h"

namespace trial {

namespace {

namespace format = sluice::journal;

using Numbers = std::set<std::uint64_t>;

// key=value in a log line.
std::string word_of(std::string_view line, std::string_view key) {
  const std::string wanted = fmt::format(" {}=", key);
  const auto at = line.find(wanted);
  if (at == std::string_view::npos) return {};
  line.remove_prefix(at + wanted.size());
  return std::string(line.substr(0, line.find(' ')));
}

std::uint64_t number_of(const std::string& text) {
  std::uint64_t number = UINT64_MAX;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

// The bytes that a line of the log complains of.
std::optional<Hole> hole_in(std::string_view line) {
  const std::string segment = word_of(line, "segment");
  const auto name = format::parse_name(segment);
  if (!name) return {};
  const bool settles = name->what == format::FileName::What::settled;
  return Hole{.segment = name->number,
              .offset = number_of(word_of(line, "offset")),
              .bytes = number_of(word_of(line, "bytes")),
              .torn = settles || line.find("cut short") != std::string_view::npos,
              .settles = settles};
}

Numbers set_aside(const model::MemoryDisk& disk) {
  Numbers found;
  for (const std::string& name : disk.names()) {
    const auto parsed = format::parse_name(name);
    if (parsed && parsed->what == format::FileName::What::damaged) found.insert(parsed->number);
  }
  return found;
}

std::vector<std::string> words_of(const std::set<Hole>& holes) {
  std::vector<std::string> words;
  std::ranges::transform(holes, std::back_inserter(words), [](const Hole& hole) { return to_string(hole); });
  return words;
}

class Complaints {
 public:
  void of_events(const char* where, const std::map<Id, std::string>& got, const std::map<Id, std::string>& wanted) {
    for (const auto& [id, payload] : wanted) {
      if (!got.contains(id)) say("{}: {} is missing", where, id);
    }
    for (const auto& [id, payload] : got) {
      const auto at = wanted.find(id);
      if (at == wanted.end()) {
        say("{}: {} should not come, with {}", where, id, payload);
      } else if (at->second != payload) {
        say("{}: {} came as {}", where, id, payload);
      }
    }
  }
  template <class T>
  void unless_same(const char* what, const T& got, const T& wanted) {
    if (got != wanted) say("{}: {}, not {}", what, got, wanted);
  }
  template <class... T>
  void say(fmt::format_string<T...> form, T&&... values) {
    said_.push_back(fmt::format(form, std::forward<T>(values)...));
  }
  [[nodiscard]] std::vector<std::string> all() && { return std::move(said_); }

 private:
  std::vector<std::string> said_;
};

// A start over this disk, up to where everything that it brings is finished.
void live(model::MemoryDisk& disk, const Expected& expected, Complaints& complaints) {
  std::set<Hole> holes;
  std::vector<std::string> doubled;
  JournalHand hand(disk, 100, [&](sluice::LogLevel, std::string_view line) {
    const auto hole = hole_in(line);
    if (hole && !holes.insert(*hole).second) doubled.emplace_back(line);
  });
  const Numbers at_once = set_aside(disk);
  const auto taken = hand.take_all();

  std::map<Id, std::string> delivered;
  std::map<std::uint64_t, Id> last_of;  // the one that holds the segment
  for (const JournalHand::Taken& event : taken) {
    const Id id = to_string(event.id);
    if (!delivered.emplace(id, event.payload).second) complaints.say("{} came twice", id);
    if (event.type != JournalHand::kType) complaints.say("{} came with the type {}", id, event.type);
    last_of[event.segment] = id;
  }
  complaints.of_events("start", delivered, expected.delivered);
  complaints.unless_same("lost", hand.lost(), expected.lost);
  complaints.unless_same("replayed", hand.journal().replayed(), expected.delivered.size() + expected.lost);
  complaints.unless_same("log", words_of(holes), words_of(expected.holes));
  for (const std::string& line : doubled) complaints.say("said twice: {}", line);

  const auto finish = [&](bool last_ones) {
    for (const JournalHand::Taken& event : taken) {
      if ((last_of.at(event.segment) == to_string(event.id)) == last_ones) {
        hand.journal().settle(event.segment, event.id.sequence, 1);
      }
    }
    if (hand.journal().write_settles()) complaints.say("settles were not written");
    hand.journal().maintain();
  };
  finish(false);
  for (const std::uint64_t number : set_aside(disk)) {
    if (last_of.contains(number)) complaints.say("{} was set aside too early", format::segment_name(number));
  }
  for (const std::uint64_t number : expected.unreadable) {
    if (!at_once.contains(number)) complaints.say("{} was not set aside at once", format::segment_name(number));
  }
  finish(true);
  complaints.unless_same("set aside", set_aside(disk), expected.set_aside);
  if (hand.journal().close()) complaints.say("it does not close");
}

}  // namespace

std::vector<std::string> complaints_of_start(const Files& files, const Expected& expected) {
  Complaints complaints;
  try {
    model::MemoryDisk disk(1);
    for (const auto& [name, bytes] : files) disk.replace(name, bytes);
    live(disk, expected, complaints);
    JournalHand again(disk, 101);
    if (!again.take_all().empty() || again.lost() > 0) complaints.say("the next start brings something once more");
    if (again.journal().replayed() > 0) complaints.say("the next start counts {} events", again.journal().replayed());
  } catch (const std::exception& error) {
    complaints.say("it does not open: {}", error.what());
  }
  return std::move(complaints).all();
}

Shelf::Shelf(const Files& files) {
  std::filesystem::create_directory(dir_.path() / "journal");
  for (const auto& [name, bytes] : files) put(name, bytes);
}

void Shelf::put(const std::string& file, const std::string& bytes) const {
  std::ofstream(dir_.path() / "journal" / file, std::ios::binary) << bytes;
}

void Shelf::cut_off(const std::string& file, std::uint64_t length) const {
  std::filesystem::resize_file(dir_.path() / "journal" / file, length);
}

void Shelf::overwrite(const std::string& file, std::uint64_t at, std::string_view with) const {
  std::fstream to(dir_.path() / "journal" / file, std::ios::binary | std::ios::in | std::ios::out);
  to.seekp(static_cast<std::streamoff>(at));
  to << with;
}

Files Shelf::files() const {
  Files files;
  for (const auto& entry : std::filesystem::directory_iterator(dir_.path() / "journal")) {
    std::ifstream in(entry.path(), std::ios::binary);
    files[entry.path().filename()] = {std::istreambuf_iterator<char>(in), {}};
  }
  return files;
}

std::vector<std::string> complaints_of_view(const Shelf& shelf, const Expected& expected) {
  Complaints complaints;
  try {
    const sluice::JournalView view(shelf.state_dir());
    std::set<Hole> holes;
    for (const sluice::JournalHole& hole : view.holes()) {
      holes.insert({hole.segment, hole.offset, hole.bytes, hole.torn, hole.settles});
    }
    complaints.unless_same("verify", words_of(holes), words_of(expected.holes));
    std::map<Id, std::string> unfinished;
    const auto error = view.for_each_unfinished([&](const sluice::Delivery& event) {
      if (!unfinished.emplace(to_string(event.id), event.text()).second)
        complaints.say("dump: twice {}", to_string(event.id));
      return true;
    });
    if (error) complaints.say("dump: {}", error.message());
    complaints.of_events("dump", unfinished, expected.delivered);
    complaints.unless_same("verify: unfinished", view.totals().unfinished, std::uint64_t{expected.delivered.size()});
    complaints.unless_same("verify: broken", view.totals().broken, expected.lost);
    complaints.unless_same("verify: whole", view.whole(), expected.set_aside.empty());
    const auto& totals = view.totals();
    complaints.unless_same("verify: events", totals.events, totals.settled + totals.unfinished + totals.broken);
    Numbers damaged;
    for (const sluice::JournalSegment& segment : view.segments()) {
      if (segment.state == sluice::JournalSegment::State::damaged) damaged.insert(segment.number);
    }
    complaints.unless_same("verify: damaged", damaged, expected.set_aside);
  } catch (const std::exception& error) {
    complaints.say("it cannot be looked at: {}", error.what());
  }
  return std::move(complaints).all();
}

// Where anything is written, padding and the word behind it included; and some places in what is zeros.
std::vector<std::uint64_t> places_in(const std::string& bytes) {
  std::vector<std::uint64_t> places;
  std::uint64_t next_zero = 0;
  std::uint64_t used_to = 0;
  for (std::uint64_t at = 0; at < bytes.size(); ++at) {
    if (bytes[at] != '\0') used_to = at + 16;
    if (at >= used_to && at < next_zero) continue;
    if (at >= used_to) next_zero = at + (at < 16384 ? 509 : 16381);
    places.push_back(at);
  }
  return places;
}

Trials::Trials(const Specimen& of) : shelf_(of.files) {}

Trials::~Trials() {
  CHECK(failed_ == 0);
  MESSAGE(made_, " trials: ", lost_, " events lost, ", aside_, " segments set aside, ", torn_, " torn holes");
}

void Trials::judge(const std::string& what, const std::vector<std::string>& complaints, const Expected& expected) {
  constexpr int kMostSaid = 10;  // more would say nothing more
  ++made_;
  lost_ += expected.lost;
  aside_ += expected.set_aside.size();
  for (const Hole& hole : expected.holes) torn_ += hole.torn ? 1 : 0;
  if (complaints.empty()) return;
  if (++failed_ <= kMostSaid) MESSAGE(what, ":\n  ", fmt::format("{}", fmt::join(complaints, "\n  ")));
}

void Trials::of(const std::string& what, const Files& files, const Expected& expected) {
  std::vector<std::string> complaints = complaints_of_start(files, expected);
  std::ranges::move(complaints_of_view(Shelf(files), expected), std::back_inserter(complaints));
  judge(what, complaints, expected);
}

void Trials::of(const std::string& what, const Damage& damage) {
  const Expected expected = expected_of(damage);
  Files files = damage.of->files;
  files[damage.file] = damage.bytes;
  std::vector<std::string> complaints = complaints_of_start(files, expected);
  const std::string_view before = damage.of->files.at(damage.file);
  if (damage.length) {
    shelf_.cut_off(damage.file, *damage.length);
  } else {
    const std::string_view after = damage.bytes;
    shelf_.overwrite(damage.file, damage.from, after.substr(damage.from, damage.to - damage.from));
  }
  std::ranges::move(complaints_of_view(shelf_, expected), std::back_inserter(complaints));
  if (damage.length) {
    shelf_.overwrite(damage.file, *damage.length, before.substr(*damage.length));
  } else {
    shelf_.overwrite(damage.file, damage.from, before.substr(damage.from, damage.to - damage.from));
  }
  judge(what, complaints, expected);
}

}  // namespace trial
