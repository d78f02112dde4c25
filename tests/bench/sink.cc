// A sink alone: what it takes to deliver so many events, with nothing of the engine around it, in batches as a worker
// brings them; and SQLite alone, as little around it as can be.
//
//   bench_sink URL [events=60000] [bytes=200] [batch=512] [ack=queued|written|synced]
//   bench_sink raw-sqlite:PATH ...         rows into a table like the sink's by SQLite's own interface
//
// Prints as JSON the seconds it took, without opening and closing.
#include <sqlite3.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "bench/arguments.h"
#include "bench/request.h"
#include "sluice/sinks.h"
#include "sluice/sqlite.h"

namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

struct Plan {
  std::size_t events, batch, bytes;
  std::string payloads;  // of all events, each in its own place, as they lie in a queue: no cache holds them
  sluice::Ack ack;

  [[nodiscard]] std::string_view payload(std::size_t i) const {
    return std::string_view(payloads).substr(i * bytes, bytes);
  }
};

Seconds through_sink(const Plan& plan, std::string_view url) {
  const std::unique_ptr<sluice::Sink> sink = sluice::sqlite::sinks_for(url)({.ack = plan.ack, .log = {}, .worker = 0});
  const sluice::RunId run = sluice::RunId::draw();
  const auto received = std::chrono::system_clock::now();
  std::vector<sluice::Delivery> batch;
  std::vector<sluice::Verdict> verdicts;
  const auto begin = Clock::now();
  for (std::size_t done = 0; done < plan.events; done += batch.size()) {
    batch.resize(std::min(plan.batch, plan.events - done));
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const sluice::Event event(plan.payload(done + i), "application/json");
      batch[i] = {event.payload, event.content_type, {run, done + i + 1}, received};
    }
    verdicts.assign(batch.size(), {});
    sink->deliver(batch, verdicts, {});
    for (const sluice::Verdict& verdict : verdicts) {
      if (verdict.kind() != sluice::Verdict::delivered) throw std::runtime_error("not delivered: " + verdict.reason());
    }
  }
  return Clock::now() - begin;
}

Seconds raw_sqlite(const Plan& plan, const std::string& path) {
  sqlite3* database = nullptr;
  const auto must = [&database](int code) {
    if (code != SQLITE_OK && code != SQLITE_DONE) throw std::runtime_error(sqlite3_errmsg(database));
  };
  must(sqlite3_open(path.c_str(), &database));
  const auto run = [&](const char* text) { must(sqlite3_exec(database, text, nullptr, nullptr, nullptr)); };
  run("PRAGMA journal_mode=WAL");
  run(plan.ack == sluice::Ack::synced ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
  run("CREATE TABLE events(id TEXT PRIMARY KEY NOT NULL, received_at TEXT NOT NULL, content_type TEXT NOT NULL, "
      "payload)");
  sqlite3_stmt* insert = nullptr;
  must(sqlite3_prepare_v2(database, "INSERT INTO events VALUES(?1, ?2, ?3, ?4)", -1, &insert, nullptr));
  const auto bind = [&](int at, std::string_view text) {
    must(sqlite3_bind_text(insert, at, text.data(), static_cast<int>(text.size()), SQLITE_STATIC));
  };
  bind(2, "2026-01-31T12:34:56.789123Z");
  bind(3, "application/json");
  const std::string prefix = "01a20b7c-49e6-7f9e-9cde-81bf16085c8a-";
  const auto begin = Clock::now();
  for (std::size_t done = 0; done < plan.events;) {
    run("BEGIN IMMEDIATE");
    for (const std::size_t end = std::min(plan.events, done + plan.batch); done < end; ++done) {
      const std::string id = prefix + std::to_string(done + 1);
      bind(1, id);
      bind(4, plan.payload(done));
      must(sqlite3_step(insert));
      must(sqlite3_reset(insert));
    }
    run("COMMIT");
  }
  const Seconds took = Clock::now() - begin;
  sqlite3_finalize(insert);
  sqlite3_close(database);
  return took;
}

void run(bench::Arguments& arguments) {
  const std::string& url = arguments.word(0);
  const std::string ack = arguments.text("ack");
  Plan plan{.events = arguments.count("events", 60000),
            .batch = arguments.count("batch", 512),
            .bytes = arguments.count("bytes", bench::kEvent.size()),
            .payloads = {},
            .ack = ack == "synced"    ? sluice::Ack::synced
                   : ack == "written" ? sluice::Ack::written
                                      : sluice::Ack::queued};
  arguments.no_more();
  const std::string event = bench::event_of(plan.bytes);
  for (std::size_t i = 0; i < plan.events; ++i) plan.payloads += event;
  constexpr std::string_view raw = "raw-sqlite:";
  const Seconds took = url.starts_with(raw) ? raw_sqlite(plan, url.substr(raw.size())) : through_sink(plan, url);
  std::printf("{\"seconds\":%.6f}\n", took.count());
}

}  // namespace

int main(int argc, char** argv) { return bench::run_main(argc, argv, run); }
