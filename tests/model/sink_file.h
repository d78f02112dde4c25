// The sink of the model: a file on the same disk as the journal, so the same cut goes through both. A line an event,
// `RUN-SEQ HASH CHECK`, appended and synced before it says `delivered`; a torn end is cut off at the start. What counts
// as delivered is what this file holds in the end. One thread, or its owner's lock.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/life.h"
#include "model/memory_disk.h"

namespace model {

class SinkFile {
 public:
  static constexpr std::string_view kName = "sink";
  using Lines = std::vector<std::pair<sluice::EventId, std::uint64_t>>;  // ids, and hashes of payloads

  // Once, before there is a journal: later the sink must never sync the directory, since this would do the journal's
  // work.
  static void create(MemoryDisk& disk);

  // Throws std::system_error if the file cannot be read or cut.
  explicit SinkFile(MemoryDisk& disk);

  // True: all of them are durable. False: some may be there, and they are to be sent again.
  [[nodiscard]] bool append(std::span<const Handed> events);

  // The whole lines of these bytes, and how many bytes those are.
  [[nodiscard]] static std::pair<Lines, std::size_t> parse(std::string_view bytes);

 private:
  std::unique_ptr<sluice::DiskFile> file_;
  std::uint64_t good_ = 0;  // behind it nothing counts
  bool torn_ = false;
};

}  // namespace model
