// A program that links sluice::sqlite: a thousand events into a database. Prints the report; ends with 0 if they are
// there.
//
//   sqlite_consumer DIR     DIR: an empty directory to write to
#include <sluice/sqlite.h>
#include <sluice/tracker.h>
#include <sluice/version.h>

#include <chrono>
#include <filesystem>
#include <iostream>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 2) return 64;
  const std::filesystem::path database = std::filesystem::path(argv[1]) / "events.db";
  std::cout << "sluice " << sluice::version() << '\n';
  sluice::Tracker tracker({.workers = 1}, sluice::sqlite::sinks_for("sqlite:" + database.string()));
  const std::vector<sluice::Event> events(1000, "an event");
  if (tracker.track(events) != sluice::Admit::accepted) return 1;
  const sluice::Report report = tracker.shutdown(std::chrono::seconds{5});
  std::cout << to_string(report) << '\n';
  return report.drained() && std::filesystem::file_size(database) > 0 ? 0 : 1;
}
