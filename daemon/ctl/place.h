// The progress of a replay: the events that the server has accepted, in a file that only grows. One thread, and one
// process at a time (the file is locked). Refuses a file that another replay holds, one for another server, and any
// other file, which it does not change.
//
//   sluicectl replay 1 to URL
//   RUN FIRST-LAST FIRST-LAST …      one line for each accepted request; a range of one event is FIRST-FIRST
//
// A line counts if it ends in a line feed. The rest after the last such line, or from a line in another form on, was
// torn and is cut off. Not synced: it survives `kill -9`; after a power cut the last events may be sent again.
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

  // Whether the server accepted it in an earlier replay.
  [[nodiscard]] bool has(const sluice::EventId& event) const;

  // Adds the events of one request, in their order. On an error the file is cut back, if the disk allows.
  [[nodiscard]] std::error_code add(std::span<const sluice::EventId> events);

 private:
  using Range = std::pair<std::uint64_t, std::uint64_t>;  // first and last
  // Reads a line into answered_; false if it has another form.
  [[nodiscard]] bool take(std::string_view line);
  void read(const std::string& file, const std::string& head);

  int descriptor_ = -1;
  std::map<std::string, std::vector<Range>, std::less<>> answered_;  // by run; sorted, as read at the start
};

// The default file: one for each server, in the state directory.
[[nodiscard]] std::filesystem::path place_for(const std::filesystem::path& state_dir, std::string_view to);

}  // namespace sluicectl
