// The dead-letter file as a log: letters are appended durably, and the oldest are removed from its front. Any thread;
// one lock inside, which workers wait for, so it is held for about one sync at a time. An event leaves the books once
// append() has returned without an error, so append() returns only when the disk has the letter.
//
// Lines are removed by writing the rest to a draft, syncing it and renaming it over the file: at any time one of the
// two is there and whole. append() notices by itself that the file of this name is another one.
#pragma once

#include <cstddef>
#include <filesystem>
#include <mutex>
#include <span>
#include <system_error>

#include "sinks/chunk_writer.h"
#include "sinks/line_file.h"
#include "sinks/line_reader.h"
#include "sluice/dead_letters.h"

namespace sluice {

class DeadLetterLog {
 public:
  // Opens or creates the file and cuts off a torn last line; if the disk does not allow it, the first append() does.
  explicit DeadLetterLog(const std::filesystem::path& path);

  // Appends all of them and syncs. After an error none of them is in the file; a partial write is cut off.
  [[nodiscard]] std::error_code append(std::span<const DeadLetter> letters);

  // Removes the first `bytes` of the file that `lines` reads. A gigabyte may stay, and workers must not wait for its
  // copy: most of it is copied and synced without the lock, then what was appended meanwhile, until that is little.
  // Only the last step holds the lock. One call at a time. `bytes` may be 0, to check that the file is still the same.
  [[nodiscard]] std::error_code remove_front(std::size_t bytes, const LineReader& lines);

  // The length of the file, up to the end of its last whole batch.
  [[nodiscard]] std::error_code size(std::size_t& size);

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  [[nodiscard]] LineFile::Outcome write(std::span<const DeadLetter> letters);
  [[nodiscard]] std::error_code measure(std::size_t& size);
  [[nodiscard]] std::error_code check_same(const LineReader& lines);
  [[nodiscard]] std::error_code copy_rest(std::size_t bytes, const LineReader& lines);
  [[nodiscard]] std::error_code rename_draft() const;
  [[nodiscard]] std::filesystem::path draft_path() const { return path_.string() + ".draft"; }

  const std::filesystem::path path_;
  std::mutex mutex_;
  LineFile file_;       // guarded by mutex_; unlocked, since its directory belongs to this process alone
  ChunkBuffer buffer_;  // guarded by mutex_
};

}  // namespace sluice
