// What another thread does between two steps of the door, the gate, the queue or the retry lane, done at that instant.
// Their files are compiled here once more, in a namespace of their own, with their instants (admission/instant.h)
// alive: at each the test's own action runs, on the thread that passes it, or holds that thread until another has come
// as far as it can.
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "unit/blocked.h"

namespace instants {
namespace {

std::mutex mutex;
std::map<std::string, std::function<void()>, std::less<>> actions;  // guarded by mutex

// The next time that any thread passes the instant, `action` runs there, once.
void at(const std::string& name, std::function<void()> action) {
  const std::lock_guard lock(mutex);
  actions[name] = std::move(action);
}
void pass(std::string_view name) {
  std::function<void()> action;
  {
    const std::lock_guard lock(mutex);
    const auto found = actions.find(name);
    if (found != actions.end()) action = std::exchange(found->second, nullptr);
  }
  if (action) action();
}

}  // namespace
}  // namespace instants

#define SLUICE_INSTANT(name) ::instants::pass(#name)
#define sluice sluice_at_instants
#include "admission/admission.cc"
#include "admission/gate.cc"
#include "admission/ticket.cc"
#include "event.cc"
#include "queue/block.cc"
#include "queue/block_memory.cc"
#include "queue/event_queue.cc"
#include "workers/batch.cc"
#include "workers/retry_lane.cc"

#include "unit/tickets.h"

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using sluice::Admission;
using sluice::Admit;
using sluice::Block;
using sluice::BlockMemory;
using sluice::Event;
using sluice::EventId;
using sluice::EventQueue;
using sluice::Gate;
using sluice::Slice;
using sluice::Ticket;

namespace {

template <typename Condition>
bool eventually(Condition holds) {
  for (const auto end = Clock::now() + 10s; Clock::now() < end; std::this_thread::yield()) {
    if (holds()) return true;
  }
  return false;
}

// Counts the workers that are about to sleep until they are rung, for as long as it lives.
struct Sleepers {
  Sleepers() { count(); }
  ~Sleepers() { instants::at("parking", nullptr); }
  Sleepers(const Sleepers&) = delete;
  Sleepers& operator=(const Sleepers&) = delete;
  void count() {
    instants::at("parking", [this] {
      ++passed;
      count();
    });
  }
  std::atomic<int> passed{0};
};

// A queue with its door, and blocks for it.
struct House {
  explicit House(std::size_t lot = 1000, std::size_t slice_events = 1) : queue({}, lot, slice_events) {}
  Block::Owner block(std::size_t events = 1) {
    const std::vector<Event> some(events, sluice::Event("x"));
    auto ticket = door.try_admit(events, Block::bytes_for(some, {}));
    Block::Owner made = Block::make(memory, some, std::get<Ticket>(std::move(ticket)), {});
    made->ticket().hand_over_events();
    return made;
  }
  EventQueue::Push push(std::size_t events = 1) {
    Block::Owner made = block(events);
    EventId first;
    return queue.push(made, first);
  }
  // How many events came out, finished at once.
  std::size_t pop() {
    Slice slice{};
    if (queue.try_pop({&slice, 1}) == 0) return 0;
    slice.block->release(slice.count);
    door.give_back_events(slice.count);
    return slice.count;
  }

  Admission door{1000, 1 << 20};
  BlockMemory memory{1 << 16};
  EventQueue queue;
};

// Closes it at the end of its life, or a worker that nobody woke would keep a test that has failed from ending.
struct Closing {
  explicit Closing(EventQueue& its_queue) : queue(its_queue) {}
  ~Closing() { queue.close(); }
  Closing(const Closing&) = delete;
  Closing& operator=(const Closing&) = delete;
  EventQueue& queue;
};

}  // namespace

TEST_SUITE("lifecycle") {
  TEST_CASE("instants: a door that closes while somebody enters lets him in no more, and has all its bytes") {
    for (const bool passes : {false, true}) {
      CAPTURE(passes);
      Admission here(10, 1000, 250);
      instants::at("bytes_charged", [&] { here.close(); });
      CHECK(refusal(passes ? here.try_pass(1, 300) : here.try_admit(1, 300)) == Admit::closed);
      CHECK(here.events_out() == 0);
      CHECK(here.bytes_out() == 0);
    }
  }

  TEST_CASE("instants: of two who enter for the last event one is refused, and leaves no bytes behind") {
    Admission door(2, 1000);
    std::optional<Ticket> other;
    instants::at("bytes_charged", [&] { other = ticket_in(door.try_admit(2, 100)); });
    CHECK(refusal(door.try_admit(1, 300)) == Admit::full);
    CHECK(other);
    CHECK(door.events_out() == 2);
    CHECK(door.bytes_out() == 100);
  }

  TEST_CASE("instants: another event that leaves while somebody enters does not keep him out") {
    Admission door(2, 1000);
    auto other = ticket_in(door.try_admit(1, 100));
    instants::at("bytes_charged", [&] { other.reset(); });
    const auto ticket = ticket_in(door.try_admit(1, 300));
    CHECK(ticket);
    CHECK(door.events_out() == 1);
    CHECK(door.bytes_out() == 300);
  }

  TEST_CASE("instants: what finds the window full of events while it moves in stays in the passage, charged once") {
    Admission door(2, 1000, 250);
    auto passing = ticket_in(door.try_pass(1, 200));
    REQUIRE(passing);
    std::optional<Ticket> other;
    instants::at("bytes_charged", [&] { other = ticket_in(door.try_admit(2, 100)); });
    CHECK_FALSE(door.try_move_in(*passing));
    CHECK(other);
    CHECK(door.window_bytes_out() == 100);
    CHECK(door.bytes_out() == 300);
    door.close();
    other.reset();
    CHECK(door.try_move_in(*passing));  // open also once closed
    CHECK(door.bytes_out() == 200);
    passing.reset();
    CHECK(door.wait_empty(Clock::now()));
    CHECK(door.bytes_out() == 0);
  }

  TEST_CASE("instants: room that comes between a refusal and the wait for it is taken, not waited for") {
    for (const bool events : {true, false}) {
      CAPTURE(events);
      Admission door(1, 1000);
      auto other = events ? ticket_in(door.try_admit(1, 1)) : ticket_in(door.try_admit(0, 1000));
      REQUIRE(other);
      instants::at("refused", [&] { other.reset(); });
      Admit got = Admit::full;
      test::Blocker waiter([&] { got = refusal(door.wait_admit(1, 1, Clock::now() + 20s)); });
      CHECK(waiter.ends());  // within 10 s
      CHECK(got == Admit::accepted);
    }
  }

  TEST_CASE("instants: a waiter that comes while bytes go back is woken for them") {
    Admission door(10, 1000);
    auto bytes = ticket_in(door.try_admit(0, 1000));
    REQUIRE(bytes);
    std::optional<test::Blocker> waiter;
    Admit got = Admit::full;
    instants::at("bytes_going_back", [&] {
      waiter.emplace([&] { got = refusal(door.wait_admit(1, 1000, Clock::now() + 20s)); });
      CHECK(waiter->waits());
    });
    bytes.reset();
    CHECK(waiter->ends());
    CHECK(got == Admit::accepted);
  }

  TEST_CASE("instants: a ticket's bytes are back before its events are, so that a shutdown finds none out") {
    for (const bool passes : {false, true}) {
      Admission door(10, 1000, 250);
      auto ticket = passes ? ticket_in(door.try_pass(3, 300)) : ticket_in(door.try_admit(3, 300));
      REQUIRE(ticket);
      std::size_t events = 0;
      instants::at("bytes_going_back", [&] { events = door.events_out(); });
      ticket.reset();
      CHECK(events == 3);
      CHECK(door.events_out() == 0);
    }
  }

  TEST_CASE("instants: a gate may be destroyed by who waits for the last one, who touches it no more") {
    Gate gate;
    auto pass = gate.try_enter();
    gate.close();
    std::atomic<bool> told{false};
    bool empty = false;
    bool early = false;
    test::Blocker waiter([&] {
      empty = gate.wait_empty(Clock::now() + 20s);
      early = !told;
    });
    REQUIRE(waiter.waits());
    instants::at("last_has_left", [&] {
      // Woken by now, he can only wait for the lock.
      CHECK(waiter.waits());
      told = true;
    });
    pass.reset();
    REQUIRE(waiter.ends());
    CHECK(empty);
    CHECK_FALSE(early);
  }
}

TEST_SUITE("queue") {
  TEST_CASE("instants: a queue that is closed has no push half way, so what is counted then is final") {
    for (const bool numbered : {false, true}) {
      CAPTURE(numbered);
      House house;
      std::optional<test::Blocker> closer;
      instants::at("pushing", [&] {
        closer.emplace([&] { house.queue.close(); });
        CHECK(closer->waits());
        CHECK_FALSE(house.queue.closed());
      });
      Block::Owner block = house.block(3);
      EventId first;
      CHECK((numbered ? house.queue.push_numbered(block) : house.queue.push(block, first)) == EventQueue::Push::done);
      CHECK(closer->ends());
      CHECK(house.queue.accepted() == (numbered ? 0 : 3));
      CHECK(house.push() == EventQueue::Push::closed);
      CHECK(house.queue.accepted() == (numbered ? 0 : 3));
      CHECK(house.queue.size_approx() == 3);
      CHECK(house.pop() == 0);
    }
  }

  TEST_CASE("instants: a worker never finishes an event that does not count as accepted yet") {
    House house;
    std::size_t finished = 0;
    instants::at("put_in", [&] {
      finished = house.pop();
      CHECK(house.queue.accepted() >= finished);
    });
    CHECK(house.push() == EventQueue::Push::done);
    CHECK(finished == 1);
    CHECK(house.queue.size_approx() == 0);
  }

  TEST_CASE("instants: what is pushed while a worker goes to sleep wakes it, or keeps it awake") {
    House house;
    std::atomic<std::size_t> got{0};
    instants::at("parking", [&] { CHECK(house.push() == EventQueue::Push::done); });
    test::Blocker worker([&] {
      house.queue.wait();
      got = house.pop();
    });
    const Closing closing(house.queue);
    CHECK(worker.ends());
    CHECK(got == 1);
  }

  TEST_CASE("instants: a push wakes a worker that sleeps, once: it does not come back to an empty queue") {
    House house;
    Sleepers sleepers;
    std::atomic<int> empty_handed{0}, got{0}, woken{0}, may_take{0};
    test::Blocker worker([&] {
      while (!house.queue.closed()) {
        house.queue.wait();
        if (house.queue.closed()) return;
        ++woken;
        while (woken > may_take && !house.queue.closed()) std::this_thread::yield();
        std::size_t all = 0;
        for (std::size_t n = house.pop(); n > 0; n = house.pop()) all += n;
        empty_handed += all == 0 ? 1 : 0;
        sleepers.passed = 0;
        got += static_cast<int>(all);
      }
    });
    const Closing closing(house.queue);
    for (int round = 1; round <= 3; ++round) {
      REQUIRE(eventually([&] { return sleepers.passed > 0; }));
      REQUIRE(worker.waits());
      CHECK(house.push() == EventQueue::Push::done);
      REQUIRE(eventually([&] { return woken == round; }));
      CHECK(house.push() == EventQueue::Push::done);  // rings nobody: it is awake
      ++may_take;
      REQUIRE(eventually([&] { return got == 2 * round; }));
    }
    CHECK(eventually([&] { return sleepers.passed > 0; }));
    CHECK(empty_handed == 0);
    house.queue.close();
    CHECK(worker.ends());
  }

  TEST_CASE("instants: a worker that takes and leaves something wakes the next one, and close wakes all") {
    House house;
    Sleepers sleepers;
    std::array<std::size_t, 2> got{};
    {
      std::array<std::optional<test::Blocker>, 2> workers;
      for (std::size_t i = 0; i < workers.size(); ++i) {
        workers[i].emplace([&house, &got, i] {
          while (!house.queue.closed() && got[i] == 0) {
            house.queue.wait();
            got[i] = house.pop();
          }
        });
      }
      const Closing closing(house.queue);
      REQUIRE(eventually([&] { return sleepers.passed >= 2; }));
      for (const auto& worker : workers) REQUIRE(worker->waits());
      CHECK(house.push(2) == EventQueue::Push::done);  // rings one
      for (const auto& worker : workers) CHECK(worker->ends());
    }
    CHECK(got == std::array<std::size_t, 2>{1, 1});
  }

  TEST_CASE("instants: what is put back wakes a worker that is parked, not only one that looks again by itself") {
    House house;
    REQUIRE(house.push() == EventQueue::Push::done);
    std::array<Slice, 1> slice{};
    REQUIRE(house.queue.try_pop(slice) == 1);
    {
      Sleepers sleepers;
      test::Blocker worker([&] { house.queue.wait(); });
      const Closing closing(house.queue);
      REQUIRE(eventually([&] { return sleepers.passed >= 1; }));
      REQUIRE(worker.waits());
      house.queue.put_back(slice);
      CHECK(worker.ends());
      CHECK(house.pop() == 1);
    }
  }

  TEST_CASE("instants: close wakes every worker, whether it sleeps or lingers") {
    House house;
    Sleepers sleepers;
    bool lingers_on = true;
    test::Blocker lingers([&] { lingers_on = house.queue.wait_linger(Clock::now() + 20s); });
    test::Blocker first([&] { house.queue.wait(); });
    test::Blocker second([&] { house.queue.wait(); });
    const Closing closing(house.queue);
    REQUIRE(eventually([&] { return sleepers.passed >= 2; }));
    for (const auto* const worker : {&lingers, &first, &second}) REQUIRE(worker->waits());
    house.queue.close();
    for (const auto* const worker : {&first, &second}) CHECK(worker->ends());
    CHECK(lingers.ends());
    CHECK_FALSE(lingers_on);
    CHECK(house.push() == EventQueue::Push::closed);
  }

  TEST_CASE("instants: a batch whose time has come goes to one worker, and the next one to none before its own") {
    House house;
    sluice::RetryLane lane;
    const auto put = [&](std::chrono::nanoseconds wait) {
      Block* const block = house.block().release();
      const std::vector<Slice> runs{{block, 0, 1}};
      lane.put(runs, {.attempt = 2, .passed_over = 0, .delivered_then = 0, .suspect = false}, wait);
    };
    put(0s);
    put(1h);
    const auto soon = Clock::now() + 1min;
    sluice::Batch another(1);
    sluice::Batch mine(1);
    bool took = false;
    instants::at("lane_looked", [&] { took = lane.try_take(soon, another); });
    CHECK_FALSE(lane.try_take(soon, mine));
    CHECK(took);
    another.release_all();
    house.door.give_back_events(1);
  }
}
