// How many CPUs this process may use at a time: by its affinity, and by the quota of its control group.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>

namespace sluice {

// The quota of this process's control group and of those above it, in CPUs, rounded up; nothing where none is set or
// none can be read. Both versions: cpu.max, and cpu.cfs_quota_us. `root`: / but for tests.
[[nodiscard]] std::optional<std::size_t> cpu_quota(const std::filesystem::path& root = "/");

}  // namespace sluice
