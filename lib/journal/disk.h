// The seam for all file I/O of the journal. PosixDisk is the real one; tests have a disk in memory that loses unsynced
// writes in a power cut. Names are relative to the journal's directory.
// Any thread, but one writer a file, which another thread may sync meanwhile; every call may block for as long as the
// disk does. Errors are values with the system's code; a call that failed may have done a part of its work.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace sluice {

// The moments at which a crash does most harm. The journal announces each; a test cuts the power there.
enum class Instant : std::uint8_t {
  after_append,   // a commit is written and not synced
  before_sync,    // of a segment
  after_sync,     // and before any request is completed
  at_rotation,    // the old segment is sealed, the new one is not made
  after_create,   // a new segment is made, and its name is synced
  before_settle,  // settles are known and not written
  after_settle,   // and not synced
  before_unlink,  // of a finished segment
  after_unlink,   // its settle file still exists
  after_copy,     // unfinished events are in two segments
  at_recovery,    // segments were read, nothing was changed yet
};
inline constexpr std::size_t kInstants = static_cast<std::size_t>(Instant::at_recovery) + 1;

// The disk takes no more bytes; bytes that are already on it may still be overwritten.
[[nodiscard]] inline bool is_full(std::error_code error) noexcept {
  return error == std::errc::no_space_on_device || error == std::error_code(EDQUOT, std::generic_category());
}
// It takes no change at all, and may still be read.
[[nodiscard]] inline bool is_read_only(std::error_code error) noexcept {
  return error == std::errc::read_only_file_system || error == std::errc::permission_denied ||
         error == std::errc::operation_not_permitted;
}

class DiskFile {
 public:
  struct Stat {
    std::uint64_t size = 0;
    std::uint64_t links = 0;  // 0: it was unlinked, and is gone with its last descriptor
  };

  DiskFile() = default;
  DiskFile(const DiskFile&) = delete;
  DiskFile& operator=(const DiskFile&) = delete;
  virtual ~DiskFile() = default;  // closes; syncs nothing

  // Writes all pieces, one after the other, from this offset on. A short write is an error.
  [[nodiscard]] virtual std::error_code write(std::uint64_t offset,
                                              std::span<const std::span<const std::byte>> pieces) = 0;
  // Reads up to to.size() bytes, fewer only at the end of the file; `got` is the number.
  [[nodiscard]] virtual std::error_code read(std::uint64_t offset, std::span<std::byte> to, std::size_t& got) = 0;
  // All writes before it survive a power cut once this has succeeded; after a failure it is unknown which do.
  [[nodiscard]] virtual std::error_code sync() = 0;
  // Makes the file at least this long, with zeros; writing there needs no more room on the disk.
  [[nodiscard]] virtual std::error_code preallocate(std::uint64_t size) = 0;
  [[nodiscard]] virtual std::error_code truncate(std::uint64_t size) = 0;
  [[nodiscard]] virtual std::error_code stat(Stat& to) = 0;
};

class Disk {
 public:
  enum class Open : std::uint8_t {
    read,    // it must exist
    write,   // it must exist; also for reading
    create,  // it must not exist; also for reading
  };

  Disk() = default;
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;
  virtual ~Disk() = default;

  // Makes the directory if it is missing, and locks it if it is not the one that we hold.
  [[nodiscard]] virtual std::error_code hold() = 0;

  [[nodiscard]] virtual std::error_code open(const std::string& name, Open how, std::unique_ptr<DiskFile>& file) = 0;
  [[nodiscard]] virtual std::error_code rename(const std::string& from, const std::string& to) = 0;  // replaces
  [[nodiscard]] virtual std::error_code unlink(const std::string& name) = 0;
  // New, changed and removed names survive a power cut once this has succeeded.
  [[nodiscard]] virtual std::error_code sync_directory() = 0;
  [[nodiscard]] virtual std::error_code list(std::vector<std::string>& names) = 0;

  // For tests: the journal is at this moment.
  virtual void pass(Instant now) noexcept;
};

}  // namespace sluice
