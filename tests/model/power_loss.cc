// power_loss: the journal under thousands of power cuts, kills and disk faults, a run a seed.
//
//   power_loss [--life journal|engine] [--runs N] [--first SEED] [--jobs N]   runs the seeds from FIRST on
//   power_loss [--life journal|engine] --seed SEED [--quiet]                  one run, telling each step
//
// `journal`: its single-threaded core, one step at a time; a seed gives the same run everywhere. `engine`: a whole
// tracker with all its threads; a seed gives the steps, the rest is the machine's, so what a run did that broke a
// promise is printed as well.
// Prints every seed that broke a promise, with what was broken, and at the end what the runs were about. Exit 1 if a
// promise was broken, if a run hung or crashed (its seed is printed), or if one of the dangerous instants was never
// met. Threads: each job has worlds of its own and takes its seeds from one counter; the main thread watches.
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "model/engine_life.h"
#include "model/journal_life.h"
#include "model/scenario.h"

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kLongestRun = 60s;  // a run takes milliseconds, some tens of them under a sanitizer

// What is tested.
struct Kind {
  std::string_view name;
  model::Starter start;
  model::Menu menu;
  std::uint64_t runs;        // unless told otherwise
  std::uint64_t jobs_a_cpu;  // likewise
  bool repeatable;           // a seed says all
};

Kind kind_of(std::string_view name) {
  if (name == "engine") return {name, model::engine_starter(), model::engine_menu(), 3000, 8, false};
  return {name, model::journal_starter(), {.destruction = true}, 10000, 1, true};
}

struct Arguments {
  std::string_view life = "journal";
  std::uint64_t runs = 0;  // 0: as the kind says, and so with the jobs
  std::uint64_t first = 0;
  std::uint64_t jobs = 0;
  bool one = false;
  bool quiet = false;
};

// For the handler of a crash: what this thread is running.
thread_local std::uint64_t running_seed = 0;

void tell_seed(int signal) {
  std::array<char, 20> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), running_seed).ptr;
  const auto write = [](std::string_view text) { return ::write(2, text.data(), text.size()); };
  static_cast<void>(write("crashed at seed "));
  static_cast<void>(write({digits.data(), static_cast<std::size_t>(end - digits.data())}));
  static_cast<void>(write("\n"));
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

class Runs {
 public:
  Runs(const Kind& kind, std::uint64_t first, std::uint64_t runs, std::uint64_t jobs)
      : kind_(kind), next_(first), end_(first + runs) {
    for (std::uint64_t i = 0; i < jobs; ++i) at_.emplace_back();
    for (Job& job : at_) threads_.emplace_back([this, &job] { work(job); });
  }

  // Waits for all of them.
  model::Judgement wait() {
    std::unique_lock lock(mutex_);
    while (!done_.wait_for(lock, 1s, [this] { return finished_ == at_.size(); })) {
      for (Job& job : at_) {
        if (!job.done && Clock::now() - job.since > kLongestRun) {
          std::cout << "seed " << job.seed << ": does not end\n";
          job.steps.print();
          std::cout << std::flush;
          std::_Exit(1);
        }
      }
    }
    return all_;
  }
  [[nodiscard]] std::uint64_t failed() const { return failed_; }  // after wait()

 private:
  // What a run did, for the case that it cannot be repeated.
  struct Steps {
    void add(std::string_view line) {
      const std::scoped_lock lock(mutex);
      lines.emplace_back(line);
    }
    void clear() {
      const std::scoped_lock lock(mutex);
      lines.clear();
    }
    void print() {
      const std::scoped_lock lock(mutex);
      for (const std::string& line : lines) std::cout << "  " << line << '\n';
    }
    std::mutex mutex;
    std::vector<std::string> lines;  // guarded by mutex
  };
  struct Job {
    std::uint64_t seed = 0;
    Clock::time_point since = Clock::now();
    bool done = false;
    Steps steps;
  };

  void work(Job& job) {
    const model::Trace trace =
        kind_.repeatable ? model::Trace() : [&job](std::string_view line) { job.steps.add(line); };
    for (;;) {
      {
        const std::scoped_lock lock(mutex_);
        if (next_ == end_) {
          job.done = true;
          ++finished_;
          done_.notify_all();
          return;
        }
        running_seed = job.seed = next_++;
        job.since = Clock::now();
      }
      job.steps.clear();
      model::Judgement judgement = model::run_scenario(job.seed, kind_.start, kind_.menu, trace);
      const std::scoped_lock lock(mutex_);
      if (!judgement.complaints.empty()) {
        ++failed_;
        std::cout << "seed " << job.seed << ":\n";
        if (failed_ <= kMostTraces) job.steps.print();
        for (const std::string& complaint : judgement.complaints) std::cout << "  " << complaint << '\n';
        std::cout << std::flush;
        judgement.complaints.clear();
      }
      all_ += judgement;
    }
  }

  static constexpr std::uint64_t kMostTraces = 3;  // of many that failed

  const Kind& kind_;
  std::mutex mutex_;
  std::condition_variable done_;
  // All guarded by mutex_.
  std::uint64_t next_;
  const std::uint64_t end_;
  std::uint64_t failed_ = 0;
  std::size_t finished_ = 0;
  model::Judgement all_;
  std::deque<Job> at_;  // one a thread; only `seed` is read by its own thread without the lock
  std::vector<std::jthread> threads_;
};

void print(const model::Judgement& all, std::uint64_t runs, Clock::duration elapsed) {
  const auto seconds = std::chrono::duration<double>(elapsed).count();
  std::cout << runs << " runs in " << seconds << " s: " << all.lives << " lives, " << all.power_cuts << " power cuts, "
            << all.kills << " kills, " << all.cut_in_recovery << " ends in recovery; requests: " << all.acknowledged
            << " acknowledged, " << all.refused << " refused, " << all.unknown << " unknown; " << all.handed_out
            << " events handed out; instants passed:";
  for (const std::uint64_t passed : all.passed) std::cout << ' ' << passed;
  std::cout << '\n';
}

int run_one(const Kind& kind, const Arguments& arguments) {
  running_seed = arguments.first;
  std::mutex mutex;
  const model::Trace trace = [&mutex](std::string_view line) {
    const std::scoped_lock lock(mutex);
    std::cout << "  " << line << std::endl;  // a run that crashes must have said where
  };
  const model::Judgement judgement =
      model::run_scenario(arguments.first, kind.start, kind.menu, arguments.quiet ? model::Trace() : trace);
  for (const std::string& complaint : judgement.complaints) std::cout << complaint << '\n';
  std::cout << "seed " << arguments.first << (judgement.complaints.empty() ? ": kept every promise\n" : ": FAILED\n");
  return judgement.complaints.empty() ? 0 : 1;
}

int run_many(const Kind& kind, const Arguments& arguments) {
  const auto begin = Clock::now();
  const std::uint64_t count = arguments.runs > 0 ? arguments.runs : kind.runs;
  const std::uint64_t cpus = std::max(1U, std::thread::hardware_concurrency());
  Runs runs(kind, arguments.first, count, arguments.jobs > 0 ? arguments.jobs : kind.jobs_a_cpu * cpus);
  const model::Judgement all = runs.wait();
  print(all, count, Clock::now() - begin);
  if (runs.failed() > 0)
    std::cout << runs.failed() << " runs FAILED; power_loss --life " << kind.name << " --seed SEED shows one\n";
  constexpr std::uint64_t kManyRuns = 1000;  // enough for every instant to be met
  const auto never = std::find(all.passed.begin(), all.passed.end(), 0U);
  const bool blind = count >= kManyRuns && never != all.passed.end();
  if (blind) std::cout << "instant " << never - all.passed.begin() << " was never met: FAILED\n";
  return runs.failed() > 0 || blind ? 1 : 0;
}

[[noreturn]] void usage() {
  std::cerr
      << "usage: power_loss [--life journal|engine] [--runs N] [--first SEED] [--jobs N] | --seed SEED [--quiet]\n";
  std::exit(64);
}

Arguments parse(std::span<char*> words) {
  Arguments arguments;
  for (std::size_t i = 1; i < words.size(); ++i) {
    const std::string_view flag = words[i];
    if (flag == "--quiet") {
      arguments.quiet = true;
      continue;
    }
    if (flag == "--life") {
      if (++i == words.size()) usage();
      arguments.life = words[i];
      if (arguments.life != "journal" && arguments.life != "engine") usage();
      continue;
    }
    std::uint64_t* const to = flag == "--runs"                        ? &arguments.runs
                              : flag == "--jobs"                      ? &arguments.jobs
                              : flag == "--first" || flag == "--seed" ? &arguments.first
                                                                      : nullptr;
    if (to == nullptr || ++i == words.size()) usage();
    const std::string_view number = words[i];
    const auto [end, failed] = std::from_chars(number.data(), number.data() + number.size(), *to);
    if (failed != std::errc{} || end != number.data() + number.size()) usage();
    arguments.one = arguments.one || flag == "--seed";
  }
  if (arguments.jobs > 1024) usage();
  return arguments;
}

}  // namespace

int main(int count, char** words) {
  const Arguments arguments = parse({words, static_cast<std::size_t>(count)});
  // Worlds are large and short: giving each one's memory back to the kernel would cost a third of the time.
  ::mallopt(M_MMAP_THRESHOLD, 1 << 30);
  ::mallopt(M_TRIM_THRESHOLD, 1 << 30);
  for (const int signal : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL}) std::signal(signal, tell_seed);
  const Kind kind = kind_of(arguments.life);
  return arguments.one ? run_one(kind, arguments) : run_many(kind, arguments);
}
