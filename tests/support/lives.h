// A state directory, a sink beside it, and the daemons that live on them one after the other; what is on its disk, and
// what such a daemon has grown by. One thread.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "support/daemon.h"
#include "support/load.h"
#include "support/temp_dir.h"

namespace test {

[[nodiscard]] Flags with(Flags flags, const Flags& more);

class Lives {
 public:
  // `flags` are those of every life. `place`: for both, a disk's.
  explicit Lives(const Flags& flags, const std::filesystem::path& place = std::filesystem::temp_directory_path())
      : dir_(place), flags_(with({"--state-dir", state().string()}, flags)) {}

  [[nodiscard]] const std::filesystem::path& place() const { return dir_.path(); }
  [[nodiscard]] std::filesystem::path state() const { return dir_.path() / "state"; }
  [[nodiscard]] std::filesystem::path journal() const { return state() / "journal"; }
  [[nodiscard]] std::filesystem::path sink() const { return dir_.path() / "sink"; }
  [[nodiscard]] std::string sqlite() const { return "sqlite:" + sink().string(); }
  [[nodiscard]] std::string file() const { return "file:" + sink().string(); }

  // Of the life that delivers to this sink.
  [[nodiscard]] Flags flags(const std::string& sink, const Flags& more = {}) const {
    return with(with(flags_, {"--sink", sink}), more);
  }

  // A life that drains into this sink until nothing is kept; how it ended. Throws if that takes longer.
  [[nodiscard]] Ended drain(const std::string& sink, milliseconds limit = std::chrono::seconds(20)) const;

 private:
  TempDir dir_;
  Flags flags_;
};

// A disk in memory if there is one: its syncs cost nothing, so that what is measured is the daemon's own doing.
[[nodiscard]] std::filesystem::path quickest_disk();

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

// One client whose requests follow one another, so that its numbers are in order: `first` and on, before `end`.
[[nodiscard]] LoadPlan one_producer(const Daemon& daemon, std::size_t first, std::size_t end);

// The numbers of a file sink's lines, in their order. Throws on a line that is none of a load's.
[[nodiscard]] std::vector<std::size_t> numbers_in(const std::filesystem::path& file);
// How many numbers are not those of their places: 0, 1, 2 …
[[nodiscard]] std::size_t out_of_place(const std::vector<std::size_t>& numbers);

}  // namespace test
