// Detects network file systems under the daemon's own files: there a removed file keeps a name, a lock may hold on this
// machine alone, and a sync is as good as the server. The start logs it and refuses nothing. Asks the system once per
// path, at the start (the call may wait for the disk, as opening the file did); one thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluiced::host {

// The name of a network file system, by its number in statfs(2); empty for any other number.
[[nodiscard]] std::string_view network_file_system(std::uint32_t type) noexcept;

// The number that statfs(2) returns for this path; nothing if it fails.
using AskType = std::function<std::optional<std::uint32_t>(const std::filesystem::path&)>;
[[nodiscard]] std::optional<std::uint32_t> type_of_file_system(const std::filesystem::path& path);

struct OwnFile {
  std::string_view what;  // "the state directory"
  std::filesystem::path path;
};
// One line that names all files on network file systems, with advice; empty if there are none. For a path that does not
// exist, the nearest directory above it counts.
[[nodiscard]] std::string remark_on_network(const std::vector<OwnFile>& files,
                                            const AskType& ask = type_of_file_system);

}  // namespace sluiced::host
