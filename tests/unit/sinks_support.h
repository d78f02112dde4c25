// What the tests of the sinks share: a directory of their own, batches made of text, and sinks asked about them.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/error.h"
#include "sluice/event.h"
#include "sluice/sinks.h"
#include "sluice/sqlite.h"
#include "support/temp_dir.h"

namespace sinks_test {

using test::TempDir;

inline std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void write_file(const std::string& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

// 2024-05-06T07:08:09.123456Z
inline std::chrono::system_clock::time_point some_time() {
  using namespace std::chrono;
  return sys_days(year(2024) / 5 / 6) + hours(7) + minutes(8) + seconds(9) + microseconds(123456);
}

// Events of one run, numbered in the order in which they are added, whatever batch they are in.
class Batch {
 public:
  explicit Batch(std::uint64_t first = 1) : next_(first) {}

  Batch& add(std::string payload, std::string type = "application/json") {
    const std::string& kept = texts_.emplace_back(std::move(payload));
    const std::string& kept_type = texts_.emplace_back(std::move(type));
    sluice::Delivery event{std::as_bytes(std::span(kept)), kept_type, {}, some_time()};
    for (std::size_t i = 0; i < event.id.run.bytes.size(); ++i) event.id.run.bytes[i] = static_cast<std::uint8_t>(i);
    event.id.sequence = next_++;
    events_.push_back(event);
    return *this;
  }
  [[nodiscard]] const std::vector<sluice::Delivery>& events() const { return events_; }

 private:
  std::uint64_t next_;
  std::deque<std::string> texts_;
  std::vector<sluice::Delivery> events_;
};

inline std::vector<sluice::Verdict> deliver(sluice::Sink& sink, const Batch& batch, std::stop_token stop = {}) {
  std::vector<sluice::Verdict> verdicts(batch.events().size());
  sink.deliver(batch.events(), verdicts, std::move(stop));
  return verdicts;
}

inline bool all(const std::vector<sluice::Verdict>& verdicts, sluice::Verdict::Kind kind) {
  for (const sluice::Verdict& verdict : verdicts) {
    if (verdict.kind() != kind) return false;
  }
  return !verdicts.empty();
}

// The kind and the text of the StartError; empty text if there was none.
struct Refusal {
  sluice::StartError::Kind kind{};
  std::string what;
};
inline Refusal refusal_of(const std::string& url, const sluice::SinkContext& context = {}) {
  try {
    static_cast<void>(sluice::sqlite::sinks_for(url)(context));
  } catch (const sluice::StartError& error) {
    return {error.kind(), error.what()};
  }
  return {};
}

// While it lives no file grows beyond `bytes`: the nearest thing to a full disk that needs no disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int);
};

}  // namespace sinks_test
