// What every test of the journal asks of a life of sluiced.
#include "support/lives.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>

#include "support/client.h"

namespace test {

using namespace std::chrono_literals;

Flags with(Flags flags, const Flags& more) {
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

Lives::Lives(const Flags& flags, const std::filesystem::path& place)
    : state_((place.empty() ? dir_.path() : place) / "state"), flags_(with({"--state-dir", state_.string()}, flags)) {}

void Lives::drain(const std::string& sink, std::size_t least, std::size_t most) const {
  Daemon daemon(flags(sink));
  const bool finished = wait_status_number(daemon.admin(), "kept", 0, 20s);
  const Ended ended = daemon.stop();
  INFO("the draining life said:\n", ended.errors);
  CHECK(finished);
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
  CHECK(ended.report->balanced());
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

std::size_t resident_when_idle(Daemon& daemon) {
  REQUIRE(ask_once(daemon.address(), get("/healthz")).status == 200);
  REQUIRE(ask_once(daemon.admin(), get("/status")).status == 200);
  return daemon.process().resident();
}

std::size_t resident_growth(Daemon& daemon, std::size_t idle) {
  const std::size_t peak = daemon.process().peak_resident();
  return peak > idle ? peak - idle : 0;
}

}  // namespace test
