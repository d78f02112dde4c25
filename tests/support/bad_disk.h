// A disk that fails as the test says, under the real daemon: a small library, preloaded into it, stands where the
// daemon asks the kernel (preload/bad_disk.cc), for files below one directory. All of the daemon's own code is as it
// is. To be used on one thread; it must outlive the daemon.
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <vector>

#include "support/bad_disk_control.h"
#include "support/process.h"
#include "support/temp_dir.h"

namespace test {

class BadDisk {
 public:
  explicit BadDisk(std::filesystem::path below);
  ~BadDisk();
  BadDisk(const BadDisk&) = delete;
  BadDisk& operator=(const BadDisk&) = delete;

  // For the process that is to have it.
  [[nodiscard]] std::vector<std::string> environment() const;

  // From here such calls fail with this errno; or do not return before something else is said.
  void fail(std::initializer_list<DiskCall> calls, int error);
  void hold(std::initializer_list<DiskCall> calls);
  // From here each write takes a part of what it is given; or it does, and the next one fails.
  void cut_writes_short();
  void tear_writes(int error);
  // Only writes of more bytes fail.
  void spare_writes_up_to(std::size_t bytes);
  // These bytes of a file, the one that was named as the directory, cannot be read.
  void make_unreadable(std::size_t from, std::size_t to);
  // From here it says that it is a file system of this number, as in statfs(2).
  void pretend_file_system(std::uint32_t type);
  // All is well again.
  void mend();

  // Calls that have failed or taken a part; without any, a test has shown nothing.
  [[nodiscard]] std::size_t struck() const noexcept { return control_->struck.load(); }
  // What the daemon has done, as a line each in that order: `write NAME`, `sync NAME`, `unlink NAME`. Once it has
  // ended.
  [[nodiscard]] std::vector<std::string> diary() const;
  // Waits until a call is held; false at the limit.
  [[nodiscard]] bool wait_held(milliseconds limit) const;

 private:
  void set(std::initializer_list<DiskCall> calls, int how);

  TempDir dir_;
  const std::filesystem::path below_;
  BadDiskControl* control_ = nullptr;  // mapped
};

}  // namespace test
