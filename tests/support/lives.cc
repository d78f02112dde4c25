// See the header.
#include "support/lives.h"

#include <fmt/format.h>
#include <unistd.h>

#include <stdexcept>

#include "support/client.h"
#include "support/delivered.h"

namespace test {

Flags with(Flags flags, const Flags& more) {
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

Ended Lives::drain(const std::string& sink, milliseconds limit) const {
  Daemon daemon(flags(sink));
  const bool finished = wait_status_number(daemon.admin(), "kept", 0, limit);
  Ended ended = daemon.stop();
  if (!finished) throw std::runtime_error("not drained; it said:\n" + ended.errors);
  return ended;
}

std::filesystem::path quickest_disk() {
  const std::filesystem::path memory = "/dev/shm";
  return ::access(memory.c_str(), W_OK) == 0 ? memory : std::filesystem::temp_directory_path();
}

OnDisk on_disk(const std::filesystem::path& journal) {
  OnDisk found;
  for (const auto& entry : std::filesystem::directory_iterator(journal)) {
    std::error_code gone;  // a segment may go while we look
    const auto size = entry.file_size(gone);
    if (gone) continue;
    found.bytes += size;
    const std::string name = entry.path().filename().string();
    found.segments += name.starts_with("segment-") && !name.ends_with(".settled") ? 1 : 0;
  }
  return found;
}

Growth::Growth(Daemon& daemon) : daemon_(daemon) {
  for (const auto& [address, path] : {std::pair(daemon.address(), "/healthz"), std::pair(daemon.admin(), "/status")}) {
    if (ask_once(address, get(path)).status != 200) throw std::runtime_error(std::string(path) + " is not answered");
  }
  idle_ = daemon.process().resident();
  daemon.process().forget_peak();
}

std::size_t Growth::bytes() const {
  const std::size_t peak = daemon_.process().peak_resident();
  return peak > idle_ ? peak - idle_ : 0;
}

LoadPlan one_producer(const Daemon& daemon, std::size_t first, std::size_t end) {
  LoadPlan plan;
  plan.address = daemon.address();
  plan.mode = Mode::ndjson;
  plan.connections = 1;
  plan.batch = 100;
  plan.first_event = first;
  plan.most_events = end;
  return plan;
}

std::vector<std::size_t> numbers_in(const std::filesystem::path& file) {
  std::vector<std::size_t> all;
  for (const std::string& line : lines_of(file)) {
    all.push_back(number_of(line));
    if (all.back() == std::string::npos) throw std::runtime_error("in the sink, and no event of a load: " + line);
  }
  return all;
}

std::size_t out_of_place(const std::vector<std::size_t>& numbers) {
  std::size_t n = 0;
  for (std::size_t i = 0; i < numbers.size(); ++i) n += numbers[i] == i ? 0 : 1;
  return n;
}

}  // namespace test
