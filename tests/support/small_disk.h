// A small file system of a test's own, in memory, that can be filled and emptied. It needs root: elsewhere the test
// says by name that it was skipped, and returns.
#pragma once

#include <cstddef>
#include <filesystem>

#include "support/temp_dir.h"

namespace test {

// True, and said, where nothing can be mounted.
[[nodiscard]] bool cannot_mount();

class SmallDisk {
 public:
  // With a file on it that takes `ballast` of its bytes until it is dropped.
  explicit SmallDisk(std::size_t bytes, std::size_t ballast = 0);
  ~SmallDisk();
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return dir_.path(); }
  void drop_ballast() const;

  // Takes all that is left, but for less than a page; gives it back.
  void fill() const;
  void empty_again() const;

  // Nobody may write to it, as after a kernel's remount; refused (an exception) while a file is open for writing.
  void make_read_only() const;
  void make_writable() const;

 private:
  TempDir dir_;
};

}  // namespace test
