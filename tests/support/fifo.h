// A named pipe as a file sink's path, and its reader, a thread of ours: while it does not read, a sink hangs in its
// write, and comes back when it reads again. The path is always open for both sides, so that a daemon finds a reader
// there, and the reader sees no end between two daemons.
#pragma once

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "support/fd.h"
#include "support/process.h"

namespace test {

class Fifo {
 public:
  explicit Fifo(std::filesystem::path path);  // does not read yet
  ~Fifo();
  Fifo(const Fifo&) = delete;
  Fifo& operator=(const Fifo&) = delete;

  // The payloads of a load, a line each.
  [[nodiscard]] std::string sink() const { return "file:" + path_.string() + "?format=raw"; }

  void read() noexcept { reading_.store(true); }
  void hang() noexcept { reading_.store(false); }

  // Lines so far.
  [[nodiscard]] std::size_t size() const noexcept { return size_.load(); }
  [[nodiscard]] bool wait_size(std::size_t lines, milliseconds limit) const;
  // Reads until nothing has come for a while; ends the thread. The numbers of all lines, in their order; a line that a
  // deadline has cut off is none.
  [[nodiscard]] const std::vector<std::size_t>& finish();

 private:
  void read_all();

  const std::filesystem::path path_;
  Fd fd_;
  std::atomic<bool> reading_{false}, finishing_{false};
  std::atomic<std::size_t> size_{0};
  std::vector<std::size_t> numbers_;  // the thread's until it has ended
  std::string rest_;                  // likewise: a line without its end
  std::jthread thread_;
};

}  // namespace test
