// Whether files of ours are on another machine's disk: there a removed file keeps a name, a lock may hold on this
// machine alone, and a sync is as good as the server. It is said at the start, and refused nowhere. Asks the system
// once a path, at the start (it may wait as long as that disk lets it, as opening the file did); one thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluiced::host {

// The name of a network's file system, by its number in statfs(2); empty for any other.
[[nodiscard]] std::string_view network_file_system(std::uint32_t type) noexcept;

// What statfs(2) says of this path; nothing if it says nothing.
using AskType = std::function<std::optional<std::uint32_t>(const std::filesystem::path&)>;
[[nodiscard]] std::optional<std::uint32_t> type_of_file_system(const std::filesystem::path& path);

struct OwnFile {
  std::string_view what;  // "the state directory"
  std::filesystem::path path;
};
// One line for all of them that are on a network's file system, with what to do; empty if none is. What is not there
// yet is where its next directory above is.
[[nodiscard]] std::string remark_on_network(const std::vector<OwnFile>& files,
                                            const AskType& ask = type_of_file_system);

}  // namespace sluiced::host
