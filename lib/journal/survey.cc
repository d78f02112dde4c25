// Reads each file by itself, then compares them: predecessors, duplicates, copies.
#include "journal/survey.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "journal/tail_copy.h"

namespace sluice::journal {

namespace {

[[noreturn]] void refuse(std::string_view step, const std::string& name, std::error_code error) {
  throw StartError(StartError::Kind::io, fmt::format("{} {}: {}", step, name, error.message()));
}

DiskFile::Stat stat_of(DiskFile& file, const std::string& name) {
  DiskFile::Stat stat;
  if (const auto error = file.stat(stat)) refuse("open", name, error);
  return stat;
}

// ---- each file by itself

// For writing if possible: the events on a read-only disk are still delivered.
std::error_code open_at_least_to_read(Disk& disk, const std::string& name, Disk::Open how,
                                      std::unique_ptr<DiskFile>& file) {
  const std::error_code error = disk.open(name, how, file);
  return how == Disk::Open::write && is_read_only(error) ? disk.open(name, Disk::Open::read, file) : error;
}

void open_segment(Disk& disk, Disk::Open how, Surveyed& one) {
  const std::string name = segment_name(one.number);
  if (const auto error = open_at_least_to_read(disk, name, how, one.file)) {
    if (error == std::errc::no_such_file_or_directory) throw Gone(StartError::Kind::io, "open " + name + ": it went");
    refuse("open", name, error);
  }
  one.size = stat_of(*one.file, name).size;
}

void open_settled(Disk& disk, Disk::Open how, Surveyed& one) {
  const std::string name = settled_name(one.number);
  if (const auto error = open_at_least_to_read(disk, name, how, one.settled_file)) {
    if (error != std::errc::no_such_file_or_directory) refuse("open", name, error);
    // It was not made yet; or the segment was removed before it, because it is finished.
    if (stat_of(*one.file, segment_name(one.number)).links == 0) {
      throw Gone(StartError::Kind::io, "open " + name + ": it went");
    }
    return;
  }
  one.settled_size = stat_of(*one.settled_file, name).size;
}

void look_for_header(Surveyed& one) {
  const auto copy = one.settled_file ? read_header_copy(*one.settled_file) : std::nullopt;
  one.found = read_header(*one.file, one.size, copy);
  if (one.found.error) refuse("read", segment_name(one.number), one.found.error);
  if (!one.found.header) {
    one.is = Surveyed::Is::unreadable;
  } else if (!is_read(one.found.header->version)) {
    one.is = Surveyed::Is::newer;
  }
}

// The header of its successor has its seed; and its run and ordinal, if both are of one run. The first segment of a run
// begins with the event 1.
void ask_successor(Surveyed& one, const std::vector<Surveyed>& all) {
  for (const Surveyed& other : all) {
    if (other.is != Surveyed::Is::segment || other.copies() || other.number <= one.number) continue;
    const Header& successor = other.header();
    if (successor.predecessor != one.number || successor.first_sequence <= 1) continue;
    const Header header{.seed = successor.predecessor_seed, .run = successor.run, .ordinal = successor.ordinal};
    if (!has_records(*one.file, header, one.size)) continue;
    one.found.header = header;
    one.found.broken.assign(kHeaderPlaces.begin(), kHeaderPlaces.end());
    one.is = Surveyed::Is::segment;
    return;
  }
}

void look_for_settles(Surveyed& one) {
  if (!one.settled_file) return;
  const std::uint64_t seed = one.found.header ? one.header().seed : 0;
  one.settled = read_settled(*one.settled_file, seed, one.settled_size);
}

void look_for_tails(Surveyed& one) {
  std::vector<TailCopy> copies = read_tail_copies(*one.file, one.header().seed, one.size);
  if (copies.empty()) return;
  one.tail_room = kTailRoom;
  auto tailed = std::make_unique<TailedFile>(std::move(one.file));
  for (TailCopy& copy : copies) tailed->set(std::move(copy));
  one.file = std::move(tailed);
}

// ---- compared with each other

class Reconciler {
 public:
  Reconciler(std::vector<Surveyed>& all, Look look) : all_(all), look_(look) {}

  void run() {
    find_limits();
    for (Surveyed& one : all_) {
      if (one.is == Surveyed::Is::unreadable && is_unmade(one)) one.is = Surveyed::Is::unmade;
      if (one.is != Surveyed::Is::segment) continue;
      one.footer = read_footer(*one.file, one.header(), one.size);
      if (!one.footer) look_for_tails(one);
    }
    find_duplicates();
    for (Surveyed& one : all_) {
      if (one.is == Surveyed::Is::segment) segments_.push_back(&one);
    }
    std::ranges::sort(segments_, [](const Surveyed* a, const Surveyed* b) { return a->number > b->number; });
    if (look_ == Look::thorough) {
      for (Surveyed* const one : segments_) scan_it(*one);
    }
    find_superseded();
    for (Surveyed* const one : segments_) count(*one);
    for (std::size_t i = 0; i < segments_.size(); ++i) forgive_broken(i);
  }

 private:
  // From the headers: each describes the segment before it, those of copies their own.
  void find_limits() {
    // By seed, because somebody may have renamed the file; by number, if the seed is not known.
    std::multimap<std::uint64_t, const Surveyed*> by_seed;
    std::multimap<std::uint64_t, const Surveyed*> by_number;
    for (const Surveyed& other : all_) {
      if (other.is != Surveyed::Is::segment || other.header().predecessor == 0) continue;
      by_seed.emplace(other.header().predecessor_seed, &other);
      by_number.emplace(other.header().predecessor, &other);
    }
    for (const Surveyed& one : all_) {
      ScanLimits limits{.size = one.size};
      if (one.is == Surveyed::Is::segment && one.copies()) limits = limits_in(one.header(), one.size);
      const auto& [from, to] =
          one.found.header ? by_seed.equal_range(one.header().seed) : by_number.equal_range(one.number);
      for (auto at = from; at != to; ++at) {
        const Surveyed& other = *at->second;
        if (&other == &one || (!one.found.header && other.number < one.number)) continue;
        const Header& header = other.header();
        const std::uint64_t end = std::min(limits.end, header.predecessor_end);
        if (header.predecessor_synced >= limits.synced) limits = limits_in(header, one.size);
        limits.end = end;
      }
      limits.made_size = one.found.made_size;
      limits.headless = one.found.headless();
      limits_.push_back(limits);
    }
  }
  static ScanLimits limits_in(const Header& header, std::uint64_t size) {
    return {.size = size,
            .end = header.predecessor_end,
            .synced = header.predecessor_synced,
            .events = header.predecessor_events,
            .last = header.predecessor_last};
  }
  ScanLimits& limits_of(const Surveyed& one) { return limits_[static_cast<std::size_t>(&one - all_.data())]; }

  // A segment that had events has a successor that says so, or is the last one.
  bool is_unmade(const Surveyed& one) {
    const ScanLimits& limits = limits_of(one);
    if (limits.end != UINT64_MAX && limits.end > kFirstCommit) return false;
    std::error_code error;
    const bool unused = is_unused(*one.file, one.size, error);
    if (error) refuse("read", segment_name(one.number), error);
    return unused && one.settled.holes.empty();
  }

  void scan_it(Surveyed& one) {
    if (one.scanned) return;
    // Its own footer knows more than any other header.
    ScanLimits limits = limits_of(one);
    if (one.footer) limits = {.size = one.size};
    limits.tail_room = one.tail_room;
    one.scan = journal::scan(*one.file, one.header(), limits);
    if (one.scan.error) refuse("read", segment_name(one.number), one.scan.error);
    one.scanned = true;
  }

  // Two segments of one seed: somebody has copied a file, or written a part of one over another. The one with more
  // events is the original.
  void find_duplicates() {
    std::map<std::uint64_t, std::size_t> seeds;
    for (const Surveyed& one : all_) {
      if (one.is == Surveyed::Is::segment) ++seeds[one.header().seed];
    }
    for (Surveyed& one : all_) {
      if (one.is != Surveyed::Is::segment || seeds[one.header().seed] == 1) continue;
      for (Surveyed& other : all_) {
        if (other.is != Surveyed::Is::segment || &other == &one || other.header().seed != one.header().seed) continue;
        scan_it(one);
        scan_it(other);
        const bool other_is_it =
            std::tuple(other.scan.present.size(), one.number) > std::tuple(one.scan.present.size(), other.number);
        Surveyed& original = other_is_it ? other : one;
        Surveyed& duplicate = other_is_it ? one : other;
        duplicate.is = Surveyed::Is::duplicate;
        duplicate.original = original.number;
        duplicate.mutilated = !duplicate.scan.holes.empty();
        original.inherited.add(duplicate.settled.set.without(original.settled.set));
        original.settled.set.add(duplicate.settled.set);
        if (other_is_it) break;
      }
    }
  }

  IntervalSet& moved_of(const RunId& run) {
    const auto at = std::ranges::find_if(moved_, [&](const auto& one) { return one.first == run; });
    return at != moved_.end() ? at->second : moved_.emplace_back(run, IntervalSet()).second;
  }

  // Copies first, the newest first: an event counts in the last segment that has it. An event that was finished there
  // is finished, whether the copy can still be read or not.
  void find_superseded() {
    for (const bool copies : {true, false}) {
      for (Surveyed* const one : segments_) {
        if (one->copies() != copies) continue;
        IntervalSet& elsewhere = moved_of(one->header().run);
        if (copies || !one->footer || !elsewhere.empty()) scan_it(*one);
        if (!one->scanned) continue;
        one->superseded = one->scan.present.common(elsewhere);
        if (!copies) continue;
        elsewhere.add(one->scan.present);
        elsewhere.add(one->settled.set);
      }
    }
  }

  static void count(Surveyed& one) {
    one.events = one.scanned ? one.scan.events - one.superseded.size() : one.footer->events;
    one.damaged = one.scan.damaged() || !one.found.broken.empty();
    one.absent = one.superseded;
    one.absent.add(one.scan.absent);
    one.finished = one.settled.set.without(one.absent);
    if (!one.scanned) {
      // Settled events behind the end of a segment that was sealed later are not in it any more.
      const IntervalSet settled = std::exchange(one.finished, {});
      if (one.footer->events == 0) return;
      settled.each_within(one.footer->first_sequence, one.footer->last_sequence + 1,
                          [&](std::uint64_t first, std::uint64_t n) { one.finished.add(first, n); });
      return;
    }
    // A settled event that is torn does not count here; a broken one does.
    const IntervalSet gone = one.finished.without(one.scan.present);
    one.finished = one.finished.common(one.scan.present);
    std::uint64_t broken = one.scan.broken;
    gone.each_within(0, one.scan.synced_last + 1, [&](std::uint64_t first, std::uint64_t n) {
      n = std::min(n, broken);
      one.finished.add(first, n);
      broken -= n;
    });
  }

  static std::uint64_t missing(const Surveyed& one) {
    if (!one.scanned) return 0;
    IntervalSet known = one.scan.present.without(one.superseded);
    known.add(one.finished);
    return one.events - std::min(one.events, known.size());
  }

  // A record that is broken here may be intact elsewhere: the copy of a broken original, the original of a broken copy.
  // Then nothing is lost. Called for the highest number first.
  void forgive_broken(std::size_t at) {
    Surveyed& one = *segments_[at];
    const std::uint64_t broken = missing(one);
    if (broken == 0) return;
    IntervalSet others;
    for (const Surveyed* const other : segments_) {
      const bool related = one.copies() ? other->number < one.number : other->copies();
      if (other == &one || !related || !(other->header().run == one.header().run)) continue;
      others.add(one.copies() ? other->scan.present.without(other->absent).without(other->finished)
                              : other->scan.present);
      if (!one.copies()) others.add(other->settled.set);
    }
    if (!one.copies()) {
      // Without those whose original is known.
      for (const Surveyed* const other : segments_) {
        if (!other->copies() && other != &one && other->header().run == one.header().run) {
          others = others.without(other->superseded);
        }
      }
    }
    IntervalSet here;
    others.without(one.scan.present)
        .each_within(one.scan.first_sequence, one.scan.synced_last + 1,
                     [&](std::uint64_t first, std::uint64_t n) { here.add(first, n); });
    one.events -= std::min(broken, here.size());
  }

  std::vector<Surveyed>& all_;
  const Look look_;
  std::vector<ScanLimits> limits_;   // one for each of all_
  std::vector<Surveyed*> segments_;  // the newest first
  std::vector<std::pair<RunId, IntervalSet>> moved_;
};

}  // namespace

Survey survey(Disk& disk, Disk::Open how, Look look) {
  std::vector<std::string> names;
  if (const auto error = disk.list(names); error && error != std::errc::no_such_file_or_directory) {
    refuse("list", "journal", error);
  }
  Survey found;
  for (const std::string& name : names) {
    if (is_draft(name)) found.drafts.push_back(name);
    const auto parsed = parse_name(name);
    if (!parsed) continue;
    switch (parsed->what) {
      case FileName::What::segment:
        found.segments.emplace_back().number = parsed->number;
        break;
      case FileName::What::settled:
        found.settled.push_back(parsed->number);
        break;
      case FileName::What::damaged:
        found.set_aside.push_back(parsed->number);
        break;
    }
  }
  std::ranges::sort(found.segments, {}, &Surveyed::number);
  std::ranges::sort(found.set_aside);
  bool newer = false;
  for (Surveyed& one : found.segments) {
    open_segment(disk, how, one);
    open_settled(disk, how, one);
    look_for_header(one);
    newer = newer || one.is == Surveyed::Is::newer;
  }
  if (newer && look == Look::quick) return found;
  for (Surveyed& one : found.segments) {
    if (one.is == Surveyed::Is::unreadable) ask_successor(one, found.segments);
    if (one.is != Surveyed::Is::newer) look_for_settles(one);
  }
  Reconciler(found.segments, look).run();
  return found;
}

}  // namespace sluice::journal
