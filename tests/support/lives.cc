// What every test of the journal asks of a life of sluiced.
#include "support/lives.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>

#include "support/client.h"

namespace test {

using namespace std::chrono_literals;

Flags with(Flags flags, const Flags& more) {
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

Lives::Lives(const Flags& flags, const std::filesystem::path& place, const std::filesystem::path& own)
    : dir_(own),
      state_((place.empty() ? dir_.path() : place) / "state"),
      flags_(with({"--state-dir", state_.string()}, flags)) {}

Ended Lives::drained(const std::string& sink, milliseconds limit) const {
  // With all the time there is: a short deadline is meant for the lives before it, and a shared disk may take long for
  // the last syncs.
  Flags unhurried = flags(sink);
  if (const auto deadline = std::ranges::find(unhurried, "-t"); deadline != unhurried.end()) deadline[1] = "20s";
  Daemon daemon(unhurried);
  const bool finished = wait_status_number(daemon.admin(), "kept", 0, limit);
  Ended ended = daemon.stop();
  if (!finished) throw std::runtime_error("not drained; it said:\n" + ended.errors);
  return ended;
}

void Lives::drain(const std::string& sink, std::size_t least, std::size_t most) const {
  const Ended ended = drained(sink);
  INFO("the draining life said:\n", ended.errors);
  CHECK(ended.code == 0);
  REQUIRE(ended.report);
  CHECK(ended.report->balanced());
  CHECK(ended.report->replayed >= least);
  CHECK(ended.report->replayed <= most);
  CHECK(ended.report->accepted == ended.report->replayed);
  CHECK(ended.report->delivered == ended.report->replayed);
}

void Lives::check_sqlite(std::size_t events) const {
  const auto counts = delivered_to_sqlite(sink(), events);  // throws on any other
  CHECK(std::ranges::count(counts, 0) == 0);
  CHECK(std::ranges::count_if(counts, [](auto times) { return times > 1; }) == 0);
}

void Lives::check_sqlite(const Fates& told) const {
  const Disagreement found = compare(told, delivered_to_sqlite(sink(), told.of.size()));
  CHECK(found.missing == 0);
  CHECK(found.doubled == 0);
  CHECK(found.refused_but_there == 0);
  CHECK(found.unsent_but_there == 0);
}

std::string batch(std::size_t first, std::size_t events, std::size_t padding) {
  std::string lines;
  const std::string end = padding == 0 ? "}\n" : fmt::format(",\"p\":\"{}\"}}\n", std::string(padding, 'x'));
  for (std::size_t k = first; k < first + events; ++k) lines += fmt::format("{{\"k\":{}{}", k, end);
  return post("application/x-ndjson", lines);
}

void feed(const Daemon& daemon, std::size_t events) {
  constexpr std::size_t kRequest = 10'000;
  Client client(daemon.address());
  for (std::size_t k = 0; k < events; k += kRequest) {
    REQUIRE(client.ask(batch(k, std::min(kRequest, events - k))).status == 202);
  }
}

void check_all_kept(const Ended& ended, std::size_t events, const std::string& reason) {
  INFO("it said:\n", ended.errors);
  CHECK(ended.code == 3);
  REQUIRE(ended.report);
  CHECK(ended.report->reason == reason);
  CHECK(ended.report->accepted == events);
  CHECK(ended.report->kept == events);
  CHECK(ended.report->lost == 0);
  CHECK(ended.report->replayed == 0);
  CHECK(ended.report->balanced());
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
