// A thread that waits until a file is deleted or renamed, or one whose name begins like it (PATH-wal), and then calls
// back. It costs nothing meanwhile. Where the system has no such watches left it never calls.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <thread>

namespace sluice {

class FileWatch {
 public:
  // `gone` runs on the thread, one call at a time, soon after; it returns soon once its token is stopped.
  FileWatch(const std::string& path, std::function<void(const std::stop_token&)> gone);
  // Waits for a call that is under way.
  ~FileWatch() = default;
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

 private:
  std::jthread thread_;
};

}  // namespace sluice
