// How many workers there are by default: what a control group allows, read from files as the kernel has them.
#include <doctest/doctest.h>
#include <sched.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <thread>

#include "sluice/host.h"
#include "sluice/options.h"
#include "support/temp_dir.h"
#include "tracker/cpus.h"

namespace {

using Quota = std::optional<std::size_t>;

// A root with files of the test's own.
class Root {
 public:
  Root& with(const std::string& path, const std::string& text) {
    const std::filesystem::path file = dir_.path() / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text << '\n';
    return *this;
  }
  [[nodiscard]] Quota quota() const { return sluice::cpu_quota(dir_.path()); }

 private:
  const test::TempDir dir_;
};

}  // namespace

TEST_CASE("cpus: the quota of a control group is rounded up to whole CPUs") {
  const auto quota_of = [](const std::string& cpu_max) {
    Root root;
    return root.with("proc/self/cgroup", "0::/a").with("sys/fs/cgroup/a/cpu.max", cpu_max).quota();
  };
  CHECK(quota_of("150000 100000") == Quota(2));
  CHECK(quota_of("200000 100000") == Quota(2));
  CHECK(quota_of("1000 100000") == Quota(1));
  CHECK_FALSE(quota_of("max 100000"));
  CHECK_FALSE(quota_of("150000 0"));
  CHECK_FALSE(quota_of("nonsense"));
}

TEST_CASE("cpus: the tightest quota of all levels counts") {
  Root root;
  root.with("proc/self/cgroup", "0::/outer/inner/leaf");
  CHECK_FALSE(root.quota());
  root.with("sys/fs/cgroup/outer/inner/leaf/cpu.max", "700000 100000");
  CHECK(root.quota() == Quota(7));
  root.with("sys/fs/cgroup/outer/cpu.max", "300000 100000");
  CHECK(root.quota() == Quota(3));
  root.with("sys/fs/cgroup/outer/inner/cpu.max", "500000 100000");
  CHECK(root.quota() == Quota(3));
}

TEST_CASE("cpus: a container whose group is mounted at the top has its quota there") {
  Root second;
  CHECK(second.with("proc/self/cgroup", "0::/docker/abc").with("sys/fs/cgroup/cpu.max", "250000 100000").quota() ==
        Quota(3));
  Root first;
  first.with("proc/self/cgroup", "5:memory:/x\n4:cpu,cpuacct:/docker/abc\n0::/");
  first.with("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000");
  first.with("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000");
  CHECK(first.quota() == Quota(1));
}

TEST_CASE("cpus: version 1 has a quota of -1 for none, under either name of its mount") {
  Root root;
  root.with("proc/self/cgroup", "4:cpuacct,cpu:/a").with("sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000");
  root.with("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "-1");
  CHECK_FALSE(root.quota());
  root.with("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "400001");
  CHECK(root.quota() == Quota(5));
}

TEST_CASE("cpus: without /proc, or with a path outside of the namespace, there is no quota but that of the top") {
  Root root;
  root.with("sys/fs/cgroup/cpu.max", "300000 100000");
  CHECK_FALSE(root.quota());
  root.with("proc/self/cgroup", "0::/../other").with("sys/other/cpu.max", "100000 100000");
  CHECK(root.quota() == Quota(3));
}

TEST_CASE("cpus: a thread that is bound to one CPU may use one") {
  std::size_t usable = 0;
  std::jthread([&usable] {
    cpu_set_t all;
    CPU_ZERO(&all);
    if (::sched_getaffinity(0, sizeof all, &all) != 0) return;
    cpu_set_t one;
    CPU_ZERO(&one);
    for (std::size_t cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu) {
      if (CPU_ISSET(cpu, &all)) CPU_SET(cpu, &one);
    }
    if (::sched_setaffinity(0, sizeof one, &one) == 0) usable = sluice::usable_cpus();
  }).join();
  CHECK(usable == 1);
}
