// A program with Sluice in it, which links neither SQLite nor fmt: a handler, a file sink with a journal, tasks, a
// gate, an exception thrown out of the library. Prints the reports; ends with 0 if everything is as the headers say.
//
//   consumer DIR     DIR: an empty directory to write to
#include <sluice/gate.h>
#include <sluice/journal.h>
#include <sluice/sinks.h>
#include <sluice/task_pool.h>
#include <sluice/tracker.h>
#include <sluice/version.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

using namespace std::chrono_literals;

namespace {

constexpr std::size_t kEvents = 1000;

bool track_all(sluice::Tracker& tracker) {
  const std::vector<sluice::Event> events(kEvents, sluice::Event("{\"a\":1}", "application/json"));
  return tracker.track(events) == sluice::Admit::accepted;
}

bool ended_well(const sluice::Report& report) {
  std::cout << to_string(report) << '\n';
  return report.drained() && report.books.balanced() && report.books.delivered == kEvents;
}

bool by_handler() {
  const auto seen = std::make_shared<std::atomic<std::size_t>>(0);
  sluice::Tracker tracker({.workers = 2},
                          [seen](const sluice::Delivery& event) { *seen += event.text() == "{\"a\":1}"; });
  return track_all(tracker) && ended_well(tracker.shutdown(5s)) && *seen == kEvents;
}

bool by_file(const std::filesystem::path& dir) {
  sluice::Options options;
  options.ack = sluice::Ack::synced;
  options.overflow = sluice::Overflow::disk;
  options.state_dir = dir / "state";
  {
    sluice::Tracker tracker(options, sluice::sinks_for("file:" + (dir / "out.ndjson").string()));
    if (!track_all(tracker) || !ended_well(tracker.shutdown(5s))) return false;
  }
  std::ifstream file(dir / "out.ndjson");
  std::size_t lines = 0;
  for (std::string line; std::getline(file, line);) ++lines;
  const sluice::JournalView journal(dir / "state");
  return lines == kEvents && journal.whole() && journal.totals().unfinished == 0;
}

bool refuses() {
  try {
    static_cast<void>(sluice::sinks_for("nowhere:"));
  } catch (const sluice::StartError& error) {
    return error.kind() == sluice::StartError::Kind::usage;
  }
  return false;
}

bool runs_tasks() {
  std::atomic<std::size_t> ran{0};
  sluice::TaskPool pool({.workers = 2});
  for (std::size_t i = 0; i < kEvents; ++i) {
    if (pool.try_run([&ran] { ++ran; }) != sluice::Admit::accepted) return false;
  }
  return ended_well(pool.shutdown(5s)) && ran == kEvents;
}

bool counts() {
  sluice::Gate gate;
  {
    const auto pass = gate.try_enter();
    if (!pass || gate.inside() != 1) return false;
  }
  gate.close();
  return gate.wait_empty(1s) && !gate.try_enter();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 64;
  std::cout << "sluice " << sluice::version() << '\n';
  return by_handler() && by_file(argv[1]) && refuses() && runs_tasks() && counts() ? 0 : 1;
}
