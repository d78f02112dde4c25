// The dead-letter file, STATE/dead-letter.ndjson: events that a sink refused for good, one JSON line each:
// {"id":…,"time":…,"reason":…,"attempts":N,"datacontenttype":…,"data":…}. Workers append; any thread requeues or drops
// the oldest letters meanwhile. It refuses nothing; after a disk error the caller tries again.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>

#include "sinks/dead_letter_log.h"
#include "sinks/line_reader.h"
#include "sluice/dead_letters.h"
#include "sluice/event.h"
#include "sluice/host.h"

namespace sluice {

class DeadLetterFile {
 public:
  // Opens or creates the file and cuts off a torn last line; if the disk does not allow it, the first append() does.
  explicit DeadLetterFile(const std::filesystem::path& state_dir);

  // Appends all of them and syncs. After an error none of them is in the file.
  [[nodiscard]] std::error_code append(std::span<const DeadLetter> letters);

  // Makes the oldest letters, at most so many, new events. `take` gets them in bulks, in order, and returns what
  // Tracker::track() returned. Only accepted events are removed from the file, after they were accepted: a crash in
  // between leaves letters whose events were taken, and loses none. The content types say which letter an event was;
  // see requeued_type(). Ends early when an event is not accepted. Lines that are no dead letters (torn, edited, or
  // written by another program) are moved to STATE/dead-letter.damaged and counted. Concurrent calls run one by one.
  using Take = std::function<Admit(std::span<const Event> events)>;
  [[nodiscard]] DeadLettersMoved requeue(std::size_t at_most, const Take& take);

  // Deletes the oldest letters, at most so many; damaged lines are set aside likewise.
  [[nodiscard]] DeadLettersMoved drop(std::size_t at_most);

 private:
  template <class TakeBulk>
  [[nodiscard]] DeadLettersMoved move(std::size_t at_most, TakeBulk take);
  [[nodiscard]] std::optional<LineReader> begin_move(DeadLettersMoved& moved);
  void finish_move(DeadLettersMoved& moved, std::size_t bytes, LineReader& lines);
  [[nodiscard]] std::error_code set_aside(std::string_view lines) const;

  std::mutex moving_;  // held during a requeue or drop, so that the first lines stay the first
  DeadLetterLog log_;
};

}  // namespace sluice
