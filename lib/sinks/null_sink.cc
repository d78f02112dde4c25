// See the header. Each sink belongs to one worker and shares nothing.
#include "sinks/null_sink.h"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <random>
#include <thread>

#include "sluice/deadline.h"

namespace sluice {

namespace {

[[noreturn]] void hang() {
  while (true) std::this_thread::sleep_for(std::chrono::hours(1));
}

[[noreturn]] void spin() {
  // Volatile, so that the compiler keeps the loop.
  for (volatile unsigned turns = 0;;) turns = turns + 1;
}

// False if a stop ended it.
bool wait(std::chrono::nanoseconds delay, std::stop_token stop) {
  std::mutex mutex;
  std::condition_variable_any never_notified;
  std::unique_lock lock(mutex);
  never_notified.wait_until(lock, stop, deadline_in(delay), [] { return false; });
  return !stop.stop_requested();
}

class NullSink final : public Sink {
 public:
  explicit NullSink(const NullBehaviour& behaviour)
      : behaviour_(behaviour), fails_(behaviour.fail), refuses_(behaviour.refuse) {}

  void deliver(std::span<const Delivery> /*batch*/, std::span<Verdict> verdicts, std::stop_token stop) override {
    if (behaviour_.hang) hang();
    if (behaviour_.spin) spin();
    if (behaviour_.delay.count() > 0 && !wait(behaviour_.delay, std::move(stop))) return;
    const bool dice = behaviour_.fail > 0 || behaviour_.refuse > 0;
    for (Verdict& verdict : verdicts) {
      if (dice && refuses_(random_)) {
        verdict = {Verdict::refused, "null: refuses it"};
      } else if (dice && fails_(random_)) {
        verdict = {Verdict::try_again, "null: fails"};
      } else {
        verdict = Verdict::delivered;
      }
    }
  }

  [[nodiscard]] std::string_view name() const noexcept override { return "null"; }

 private:
  const NullBehaviour behaviour_;
  std::minstd_rand random_{std::random_device{}()};
  std::bernoulli_distribution fails_;
  std::bernoulli_distribution refuses_;
};

}  // namespace

SinkFactory null_sinks(const NullBehaviour& behaviour) {
  return [behaviour](const SinkContext& /*context*/) { return std::make_unique<NullSink>(behaviour); };
}

}  // namespace sluice
