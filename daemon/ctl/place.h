// Where a replay was when it stopped: the events that the server has said it accepted, in a file that only grows. One
// thread, and one process at a time (it is locked). It refuses a file that another replay holds, one of another server,
// and one that is no such file, which it leaves as it is.
//
//   sluicectl replay 1 to URL
//   RUN FIRST-LAST FIRST-LAST …      a line for each request that was accepted; a range of one is FIRST-FIRST
//
// A line counts once its line feed is there; what stands behind the last such line, or behind one that reads otherwise,
// was torn and is cut off. Not synced: it survives `kill -9`, and after a power cut the last events may be sent again.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "sluice/event.h"

namespace sluicectl {

class Place {
 public:
  // Remembers nothing.
  Place() = default;
  // Opens or makes the file. `to` names the server, without secrets. Throws StartError (io).
  Place(const std::filesystem::path& file, const std::string& to);
  ~Place();
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  // Whether an earlier replay had it accepted.
  [[nodiscard]] bool has(const sluice::EventId& event) const;

  // Adds events of one request, in their order. On an error the file is as it was, as far as the disk allows.
  [[nodiscard]] std::error_code add(std::span<const sluice::EventId> events);

 private:
  using Range = std::pair<std::uint64_t, std::uint64_t>;  // first and last
  // True if the line was one, which is then known.
  [[nodiscard]] bool take(std::string_view line);
  void read(const std::string& file, const std::string& head);

  int descriptor_ = -1;
  std::map<std::string, std::vector<Range>, std::less<>> answered_;  // by run; sorted, as read at the start
};

// Its file, if none was named: one for each server, in the state directory.
[[nodiscard]] std::filesystem::path place_for(const std::filesystem::path& state_dir, std::string_view to);

}  // namespace sluicectl
