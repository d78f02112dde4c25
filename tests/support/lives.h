// Lives of sluiced that follow one another on one state directory, with a sink beside it, and what must be true at the
// end of each. To be used on one thread, within a test case: it checks.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

#include "support/daemon.h"
#include "support/delivered.h"
#include "support/load.h"
#include "support/temp_dir.h"

namespace test {

inline constexpr std::size_t kMiB = std::size_t{1} << 20U;

[[nodiscard]] Flags with(Flags flags, const Flags& more);

class Lives {
 public:
  // `flags` are those of each life. The state directory is made by the first, below `place` if one is named.
  explicit Lives(const Flags& flags, const std::filesystem::path& place = {});

  [[nodiscard]] const std::filesystem::path& state() const noexcept { return state_; }
  [[nodiscard]] std::filesystem::path journal() const { return state_ / "journal"; }
  [[nodiscard]] std::filesystem::path sink() const { return dir_.path() / "sink"; }
  [[nodiscard]] std::string sqlite() const { return "sqlite:" + sink().string(); }
  [[nodiscard]] std::string file() const { return "file:" + sink().string(); }

  [[nodiscard]] Flags flags(const std::string& sink, const Flags& more = {}) const {
    return with(with(flags_, {"--sink", sink}), more);
  }

  // A life that drains into this sink until nothing is kept; what it takes over must be `replayed`, or between the two.
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

// The end of a life whose sink has taken nothing: exit 3, and all is kept.
void check_all_kept(const Ended& ended, std::size_t events, const std::string& reason);

// The files of a journal: how many segments, and how large all together.
struct OnDisk {
  std::size_t segments = 0, bytes = 0;
};
[[nodiscard]] OnDisk on_disk(const std::filesystem::path& journal);

// What it holds once it has served each kind of request, and by how much its peak was above that.
[[nodiscard]] std::size_t resident_when_idle(Daemon& daemon);
[[nodiscard]] std::size_t resident_growth(Daemon& daemon, std::size_t idle);

}  // namespace test
