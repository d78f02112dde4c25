// Lives of sluiced that follow one another on one state directory, with a sink beside it, and what must be true at the
// end of each. To be used on one thread, within a test case: it checks.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "support/daemon.h"
#include "support/delivered.h"
#include "support/load.h"
#include "support/temp_dir.h"

namespace test {

inline constexpr std::size_t kMiB = std::size_t{1} << 20U;

[[nodiscard]] Flags with(Flags flags, const Flags& more);

class Lives {
 public:
  // `flags` are those of each life. The state directory is made by the first, below `place` if one is named; else
  // beside the sink, in a directory of its own below `own`.
  explicit Lives(const Flags& flags, const std::filesystem::path& place = {},
                 const std::filesystem::path& own = std::filesystem::temp_directory_path());

  [[nodiscard]] const std::filesystem::path& state() const noexcept { return state_; }
  [[nodiscard]] std::filesystem::path journal() const { return state_ / "journal"; }
  [[nodiscard]] std::filesystem::path sink() const { return dir_.path() / "sink"; }
  [[nodiscard]] std::string sqlite() const { return "sqlite:" + sink().string(); }
  [[nodiscard]] std::string file() const { return "file:" + sink().string(); }

  [[nodiscard]] Flags flags(const std::string& sink, const Flags& more = {}) const {
    return with(with(flags_, {"--sink", sink}), more);
  }

  // A life that delivers to this sink until nothing is kept; how it ended. Throws if that takes longer.
  [[nodiscard]] Ended drained(const std::string& sink, milliseconds limit = std::chrono::seconds(20)) const;
  // Likewise, and checked: all went well, and what it takes over must be `replayed`, or between the two.
  void drain(const std::string& sink, std::size_t replayed) const { drain(sink, replayed, replayed); }
  void drain(const std::string& sink, std::size_t least, std::size_t most) const;
  // Exactly the first so many events stand in SQLite, each once.
  void check_sqlite(std::size_t events) const;
  // What stands in SQLite is what the clients were told: all that was acknowledged, once, and nothing that was refused.
  void check_sqlite(const Fates& told) const;

 private:
  TempDir dir_;
  std::filesystem::path state_;
  Flags flags_;
};

// One request (NDJSON) with the events `first` and on, as a Load would send them.
[[nodiscard]] std::string batch(std::size_t first, std::size_t events, std::size_t padding = 0);

// Has the first so many events accepted.
void feed(const Daemon& daemon, std::size_t events);

// The end of a first life whose sink has taken nothing: exit 3, and all is kept.
void check_all_kept(const Ended& ended, std::size_t events, const std::string& reason);

// The files of a journal: how many segments, and how large all together.
struct OnDisk {
  std::size_t segments = 0, bytes = 0;
};
[[nodiscard]] OnDisk on_disk(const std::filesystem::path& journal);

// What a daemon has grown by, at most, since it had served each kind of request once.
class Growth {
 public:
  explicit Growth(Daemon& daemon);
  [[nodiscard]] std::size_t bytes() const;

 private:
  Daemon& daemon_;
  std::size_t idle_ = 0;
};

// A disk in memory if there is one: its syncs cost nothing, so that what is measured is the daemon's own doing.
[[nodiscard]] std::filesystem::path quickest_disk();

// One client whose requests follow one another, so that its numbers are in order: `first` and on, before `end`.
[[nodiscard]] LoadPlan one_producer(const Daemon& daemon, std::size_t first, std::size_t end);

// The numbers of a file sink's lines, in their order. Throws on a line that is none of a load's.
[[nodiscard]] std::vector<std::size_t> numbers_in(const std::filesystem::path& file);
// How many numbers are not those of their places: 0, 1, 2 …
[[nodiscard]] std::size_t out_of_place(const std::vector<std::size_t>& numbers);

}  // namespace test
