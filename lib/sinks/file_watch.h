// Watches a file, and files whose names begin with its name (PATH-wal), on a thread of its own, and calls back when one
// is deleted or renamed. Sleeps meanwhile. If the system has no inotify watches left, it never calls.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <thread>

namespace sluice {

class FileWatch {
 public:
  // `gone` runs on the thread, one call at a time; it must return soon once its token is stopped.
  FileWatch(const std::string& path, std::function<void(const std::stop_token&)> gone);
  // Waits for a running call.
  ~FileWatch() = default;
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

 private:
  std::jthread thread_;
};

}  // namespace sluice
