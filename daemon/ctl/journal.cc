// `sluicectl journal …`: lists, verifies and dumps the journal in a state directory, also beside a running sluiced.
// Throws StartError (io) if it cannot be read.
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "ctl/commands.h"
#include "ctl/printable.h"
#include "host/standard_streams.h"
#include "sluice/journal.h"
#include "sluice/sinks.h"
#include "text/rfc3339.h"

namespace sluicectl {

namespace {

using sluice::JournalHole;
using sluice::JournalSegment;
using sluice::JournalTotals;
using sluice::JournalView;

// The name of the file.
std::string name_of(std::uint64_t segment) { return fmt::format("segment-{:06}", segment); }
std::string name_of(const JournalHole& hole) { return name_of(hole.segment) + (hole.settles ? ".settled" : ""); }

std::string json_of(const JournalSegment& segment) {
  return fmt::format(
      R"({{"segment":{},"number":{},"state":{},"sealed":{},"copies":{},"version":{},"run":{},"first":{},"last":{},)"
      R"("events":{},"settled":{},"unfinished":{},"broken":{},"bytes":{}}})",
      sluicectl::quoted(name_of(segment.number)), segment.number, sluicectl::quoted(to_string(segment.state)),
      segment.sealed, segment.copies, segment.version, sluicectl::quoted(run_text(segment.run)), segment.first,
      segment.last, segment.events, segment.settled, segment.unfinished, segment.broken, segment.bytes);
}

std::string json_of(const JournalHole& hole) {
  return fmt::format(R"({{"segment":{},"offset":{},"bytes":{},"torn":{}}})", sluicectl::quoted(name_of(hole)),
                     hole.offset, hole.bytes, hole.torn);
}

template <class All>
std::string json_list(const All& all) {
  std::string list = "[";
  std::string_view comma;
  for (const auto& one : all) {
    list += std::exchange(comma, ",");
    list += json_of(one);
  }
  return list + "]";
}

std::string counts_json(const JournalTotals& totals) {
  return fmt::format(R"("events":{},"settled":{},"unfinished":{},"broken":{},"bytes":{})", totals.events,
                     totals.settled, totals.unfinished, totals.broken, totals.bytes);
}

int failed(std::error_code error) {
  sluiced::host::complain({fmt::format("sluicectl: read the journal: {}", error.message())});
  return kUnreadable;
}

}  // namespace

int journal_ls(const Arguments& arguments) {
  const JournalView view(arguments.state_dir);
  if (arguments.json) {
    fmt::print("{{\"segments\":{},{}}}\n", json_list(view.segments()), counts_json(view.totals()));
    return kOk;
  }
  constexpr std::string_view kRow = "{:<15} {:<10} {:>10} {:>10} {:>10} {:>7} {:>12}  {}\n";
  fmt::print(fmt::runtime(kRow), "SEGMENT", "STATE", "EVENTS", "SETTLED", "UNFINISHED", "BROKEN", "BYTES", "RUN");
  for (const JournalSegment& one : view.segments()) {
    fmt::print(fmt::runtime(kRow), name_of(one.number), to_string(one.state), one.events, one.settled, one.unfinished,
               one.broken, one.bytes, run_text(one.run) + (one.copies ? " (copies)" : ""));
  }
  const JournalTotals totals = view.totals();
  fmt::print(fmt::runtime(kRow), "total", "", totals.events, totals.settled, totals.unfinished, totals.broken,
             totals.bytes, "");
  return kOk;
}

int journal_verify(const Arguments& arguments) {
  const JournalView view(arguments.state_dir);
  const JournalTotals totals = view.totals();
  if (arguments.json) {
    fmt::print("{{\"whole\":{},{},\"holes\":{},\"segments\":{}}}\n", view.whole(), counts_json(totals),
               json_list(view.holes()), json_list(view.segments()));
    return view.whole() ? kOk : kNo;
  }
  for (const JournalHole& hole : view.holes()) {
    fmt::print("{} segment={} offset={} bytes={}\n", hole.torn ? "torn" : "broken", name_of(hole), hole.offset,
               hole.bytes);
  }
  for (const JournalSegment& segment : view.segments()) {
    if (segment.state != JournalSegment::State::newer) continue;
    fmt::print("newer segment={} version={}\n", name_of(segment.number), segment.version);
  }
  fmt::print("{} segments={} events={} settled={} unfinished={} broken={}\n", view.whole() ? "whole" : "damaged",
             view.segments().size(), totals.events, totals.settled, totals.unfinished, totals.broken);
  return view.whole() ? kOk : kNo;
}

int journal_dump(const Arguments& arguments) {
  const JournalView view(arguments.state_dir);
  const std::error_code error = view.for_each_unfinished([&](const sluice::Delivery& event) {
    if (arguments.json) {
      fmt::print("{}", printable_json(sluice::json_line(event)));
    } else {
      const std::string_view type = is_plain(event.content_type) ? event.content_type : "?";
      fmt::print("{} {} bytes={} type={}\n", to_string(event.id),
                 sluice::Rfc3339(event.received, sluice::Rfc3339::Precision::milliseconds).text(), event.payload.size(),
                 type);
    }
    return true;
  });
  return error ? failed(error) : kOk;
}

}  // namespace sluicectl
