// /proc/self/cgroup names the group, and /sys/fs/cgroup contains it. In a container the path may be that of the host,
// while the container's own group is mounted at the top. So every level that exists counts, the top included.
#include "tracker/cpus.h"

#include <sched.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "sluice/host.h"

namespace sluice {

namespace {

namespace fs = std::filesystem;

struct Group {
  std::vector<fs::path> mounts;  // where its hierarchy may be mounted
  std::string path;              // within it
  bool second_version = false;
};

// `0::/path` is version 2, `N:cpu,cpuacct:/path` version 1.
std::vector<Group> groups_of_this_process(const fs::path& root) {
  const fs::path mounts = root / "sys/fs/cgroup";
  std::ifstream file(root / "proc/self/cgroup");
  std::vector<Group> groups;
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    if (path.find("..") != std::string::npos) path = "/";  // outside of what this namespace shows
    if (controllers.empty()) {
      groups.push_back({{mounts, mounts / "unified"}, path, true});
    } else if (("," + controllers + ",").find(",cpu,") != std::string::npos) {
      groups.push_back({{mounts / controllers, mounts / "cpu"}, path, false});
    }
  }
  return groups;
}

// In CPUs, rounded up. A quota that is not a number ("max") or negative is none.
std::optional<std::size_t> rounded_up(const std::string& quota, std::int64_t period) {
  char* end = nullptr;
  const std::int64_t time = std::strtoll(quota.c_str(), &end, 10);
  if (end == quota.c_str() || time <= 0 || period <= 0) return std::nullopt;
  return static_cast<std::size_t>(time / period) + (time % period != 0 ? 1U : 0U);
}

std::optional<std::size_t> quota_at(const fs::path& directory, bool second_version) {
  std::string quota;
  std::int64_t period = 0;
  if (second_version) {
    std::ifstream(directory / "cpu.max") >> quota >> period;
  } else {
    std::ifstream(directory / "cpu.cfs_quota_us") >> quota;
    std::ifstream(directory / "cpu.cfs_period_us") >> period;
  }
  return rounded_up(quota, period);
}

}  // namespace

std::optional<std::size_t> cpu_quota(const fs::path& root) {
  std::optional<std::size_t> least;
  for (const Group& group : groups_of_this_process(root)) {
    for (const fs::path& mount : group.mounts) {
      fs::path level = fs::path(group.path).relative_path();
      for (;;) {
        const auto quota = quota_at(mount / level, group.second_version);
        if (quota && (!least || *quota < *least)) least = quota;
        if (level.empty()) break;
        level = level.parent_path();
      }
    }
  }
  return least;
}

std::size_t usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const bool known = ::sched_getaffinity(0, sizeof set, &set) == 0;
  const auto cpus = static_cast<std::size_t>(known ? std::max(1, CPU_COUNT(&set)) : 1);
  return std::min(cpus, cpu_quota().value_or(cpus));
}

}  // namespace sluice
