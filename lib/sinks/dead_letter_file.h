// The dead-letter file: events that a sink refused for good, kept aside as lines of JSON, never dropped.
// Shared by all workers, one lock inside. It refuses nothing; what the disk refuses is the caller's to try again.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <system_error>

#include "sluice/event.h"
#include "sluice/host.h"

namespace sluice {

struct DeadLetter {
  const Delivery& event;
  std::string_view reason;
};

// STATE/dead-letter.ndjson, a line an event: {"id":…,"time":…,"reason":…,"attempts":N,"datacontenttype":…,"data":…}
class DeadLetterFile {
 public:
  // Opens or makes it, cutting a torn last line off; where the disk does not let it, with the first letter.
  explicit DeadLetterFile(const std::filesystem::path& state_dir);
  ~DeadLetterFile();
  DeadLetterFile(const DeadLetterFile&) = delete;
  DeadLetterFile& operator=(const DeadLetterFile&) = delete;

  // Appends all of them and syncs; on an error none of them stands in the file (a failed or short write is cut back).
  [[nodiscard]] std::error_code append(std::span<const DeadLetter> letters);

  // The oldest entries, at most so many, become new events: `take` gets them in bulks, in their order, and its answer
  // is Tracker::track's. Only what was accepted is struck off, and only then; a crash in between leaves entries whose
  // events were taken already, and loses none. Their content types say what they were: see requeued_type(). It ends
  // early where no more are taken. A line that is no dead letter (torn, edited, somebody else's) holds up nothing: it
  // goes to STATE/dead-letter.damaged and is counted. Workers may append meanwhile; of several callers one waits for
  // the other.
  using Take = std::function<Admit(std::span<const Event> events)>;
  [[nodiscard]] DeadLettersMoved requeue(std::size_t at_most, const Take& take);

  // The oldest entries, at most so many, are thrown away; a line that is none is set aside likewise.
  [[nodiscard]] DeadLettersMoved drop(std::size_t at_most);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
