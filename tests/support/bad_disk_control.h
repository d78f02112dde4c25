// What a bad disk (preload/bad_disk.cc, within the daemon) and the test that rules it (bad_disk.h) share: a page of a
// file that both have mapped. Each field synchronises itself.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace test {

enum class DiskCall : unsigned char {
  write,     // write, writev, pwrite, pwritev
  sync,      // fsync, fdatasync
  allocate,  // fallocate
  resize,    // ftruncate
  name,      // open for writing, mkdir, rename, unlink
};
inline constexpr std::size_t kDiskCalls = static_cast<std::size_t>(DiskCall::name) + 1;

struct BadDiskControl {
  // How a call ends: as it always did, or as one of these says, or (greater than 0) with this errno.
  static constexpr int kFine = 0;
  static constexpr int kHeld = -1;       // not before something else stands here
  static constexpr int kShort = -2;      // a write takes a part of what it is given
  static constexpr int kTorn = 1 << 16;  // with an errno: a write takes a part, and the next one fails

  std::array<std::atomic<int>, kDiskCalls> of{};
  // pread of these bytes of the very file that is named as the directory ends with EIO.
  std::atomic<std::size_t> unreadable_from{0}, unreadable_to{0};
  std::atomic<std::uint32_t> file_system{0};  // what statfs says it is; 0: what it is
  std::atomic<std::size_t> spared_bytes{0};   // writes up to this size are fine
  std::atomic<std::size_t> struck{0};         // calls that failed or took a part, so far
  std::atomic<std::size_t> held{0};           // calls that wait at the moment

  // What was done below the directory, in the order in which it was over: `write NAME`, `sync NAME` or `unlink NAME` a
  // line, as long as there is room.
  static constexpr std::size_t kDiaryBytes = std::size_t{256} << 10U;
  std::atomic<std::size_t> diary_bytes{0};
  std::array<char, kDiaryBytes> diary{};
};
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<std::size_t>::is_always_lock_free);

// The names of the environment: the page's file, and the directory below which files are on the bad disk.
inline constexpr const char* kBadDiskPage = "SLUICE_BAD_DISK_PAGE";
inline constexpr const char* kBadDiskBelow = "SLUICE_BAD_DISK_BELOW";

}  // namespace test
