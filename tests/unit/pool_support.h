// For tests of the workers: sinks made of a function, a latch for them, and a pool with what an engine puts around it.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "admission/admission.h"
#include "admission/shutdown.h"
#include "queue/block.h"
#include "queue/block_memory.h"
#include "queue/event_queue.h"
#include "sluice/options.h"
#include "sluice/sink.h"
#include "workers/ledger.h"
#include "workers/pool.h"

namespace test {

template <typename Condition>
bool eventually(Condition holds) {
  for (const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
       std::chrono::steady_clock::now() < end; std::this_thread::sleep_for(std::chrono::microseconds(100))) {
    if (holds()) return true;
  }
  return false;
}

// Shut until it is opened; says how many wait in it.
class Latch {
 public:
  void pass() {
    ++waiting_;
    open_.wait(false);
    --waiting_;
  }
  void open() {
    open_ = true;
    open_.notify_all();
  }
  [[nodiscard]] int waiting() const { return waiting_; }

 private:
  std::atomic<bool> open_{false};
  std::atomic<int> waiting_{0};
};

using Deliver = std::function<void(std::span<const sluice::Delivery>, std::span<sluice::Verdict>, std::stop_token)>;

class FunctionSink final : public sluice::Sink {
 public:
  FunctionSink(Deliver deliver, std::shared_ptr<const std::atomic<bool>> gone)
      : deliver_(std::move(deliver)), gone_(std::move(gone)) {}
  void deliver(std::span<const sluice::Delivery> batch, std::span<sluice::Verdict> verdicts,
               std::stop_token stop) override {
    deliver_(batch, verdicts, std::move(stop));
  }
  [[nodiscard]] bool gone() const noexcept override { return gone_ && *gone_; }

 private:
  Deliver deliver_;
  std::shared_ptr<const std::atomic<bool>> gone_;
};

inline sluice::SinkFactory sinks(Deliver deliver, std::shared_ptr<const std::atomic<bool>> gone = nullptr) {
  return [deliver, gone](const sluice::SinkContext&) { return std::make_unique<FunctionSink>(deliver, gone); };
}

inline void deliver_all(std::span<sluice::Verdict> verdicts) {
  for (sluice::Verdict& verdict : verdicts) verdict = sluice::Verdict::delivered;
}

inline sluice::Options quiet(std::size_t workers = 1) {
  sluice::Options options;
  options.workers = workers;
  options.log = [](sluice::LogLevel, std::string_view) {};
  return options;
}

// A pool, and what it works on. Shared with its workers; end() before it goes.
struct Rig : std::enable_shared_from_this<Rig> {
  explicit Rig(sluice::Options with) : options(std::move(with)) {}

  void start(const sluice::SinkFactory& factory,
             std::function<void(sluice::Block&, std::uint64_t, std::uint32_t)> settle = {},
             std::function<std::error_code(std::span<const sluice::DeadEvent>)> bury = {}) {
    if (!bury) bury = [](std::span<const sluice::DeadEvent>) { return std::error_code(); };
    decltype(sluice::Flow::settle) settled;
    if (settle) {
      settled = [settle = std::move(settle)](std::size_t, sluice::Block& block, std::uint64_t first,
                                             std::uint32_t count) {
        settle(block, first, count);
        return false;
      };
    }
    pool = std::make_unique<sluice::Pool>(sluice::Flow{.door = door,
                                                       .queue = queue,
                                                       .stop = stop,
                                                       .ledger = ledger,
                                                       .options = options,
                                                       .log = options.log,
                                                       .settle = std::move(settled),
                                                       .bury = std::move(bury)},
                                          factory, shared_from_this());
  }

  void track(std::span<const sluice::Event> events) {
    auto answer = door.try_admit(events.size(), sluice::Block::bytes_for(events, {}));
    sluice::Block::Owner block = sluice::Block::make(memory, events, std::move(std::get<sluice::Ticket>(answer)), {});
    block->ticket().hand_over_events();
    sluice::EventId first;
    if (queue.push(block, first) != sluice::EventQueue::Push::done) throw std::bad_alloc();
  }
  void track(std::string_view text) {
    const sluice::Event event = sluice::Event(text);
    track(std::span(&event, 1));
  }

  // As at a deadline. What the pool says was left behind.
  std::vector<sluice::WorkerStatus> end(std::chrono::steady_clock::time_point until = std::chrono::steady_clock::now() +
                                                                                      std::chrono::seconds(20)) {
    queue.close();
    pool->expire(std::chrono::steady_clock::now());
    return pool->join(until);
  }

  const sluice::Options options;
  sluice::Admission door{options.queue_events, options.queue_bytes};
  sluice::BlockMemory memory{0};
  sluice::EventQueue queue{{}, 1, options.batch_events, options.workers};
  sluice::ShutdownCoordinator stop;
  sluice::Ledger ledger;
  std::unique_ptr<sluice::Pool> pool;
};

}  // namespace test
