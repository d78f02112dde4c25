// What this process has the system sync, while a spy lives: in order, by the last part of each file's name. It stands
// where our code, and SQLite's, asks the C library (fsync, fdatasync); the call itself is done as ever, or fails as the
// test says. One spy at a time; any thread may sync meanwhile.
#pragma once

#include <string>
#include <string_view>
#include <vector>

class SyncSpy {
 public:
  SyncSpy();
  ~SyncSpy();
  SyncSpy(const SyncSpy&) = delete;
  SyncSpy& operator=(const SyncSpy&) = delete;

  // From here on syncs of files whose name ends so fail once with this errno.
  void fail_once(std::string_view suffix, int error);

  // Those that have succeeded, since it was last asked.
  [[nodiscard]] std::vector<std::string> take();
  // How many of these there were of such a file since; all is forgotten.
  [[nodiscard]] std::size_t count(std::string_view suffix);
};
