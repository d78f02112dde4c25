// The dead-letter file: events that a sink refused for good, kept aside as lines of JSON, never dropped.
// Shared by all workers, one lock inside. It refuses nothing; what the disk refuses is the caller's to try again.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string_view>
#include <system_error>

#include "sluice/event.h"

namespace sluice {

struct DeadLetter {
  const Delivery& event;
  std::string_view reason;
};

// STATE/dead-letter.ndjson, a line an event: {"id":…,"time":…,"reason":…,"attempts":N,"datacontenttype":…,"data":…}
class DeadLetterFile {
 public:
  // Opens or makes it, cutting a torn last line off. Throws StartError (io).
  explicit DeadLetterFile(const std::filesystem::path& state_dir);
  ~DeadLetterFile();
  DeadLetterFile(const DeadLetterFile&) = delete;
  DeadLetterFile& operator=(const DeadLetterFile&) = delete;

  // Appends all of them and syncs; on an error none of them stands in the file (a failed or short write is cut back).
  [[nodiscard]] std::error_code append(std::span<const DeadLetter> letters);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
