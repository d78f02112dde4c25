// The numbers are from statfs(2) and from the kernel's sources; linux/magic.h lacks some.
#include "host/file_systems.h"

#include <fmt/format.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <utility>

namespace sluiced::host {

std::string_view network_file_system(std::uint32_t type) noexcept {
  // FUSE may be local, but the usual FUSE mounts for a daemon's files (sshfs, GlusterFS, a bucket) are not.
  constexpr std::array<std::pair<std::uint32_t, std::string_view>, 15> kNetworks{{{0x6969, "nfs"},
                                                                                  {0xFF534D42, "cifs"},
                                                                                  {0xFE534D42, "smb2"},
                                                                                  {0x517B, "smb"},
                                                                                  {0x65735546, "fuse"},
                                                                                  {0x01021997, "9p"},
                                                                                  {0x00C36400, "ceph"},
                                                                                  {0x0BD00BD0, "lustre"},
                                                                                  {0x47504653, "gpfs"},
                                                                                  {0x6B414653, "afs"},
                                                                                  {0x5346414F, "afs"},
                                                                                  {0x73757245, "coda"},
                                                                                  {0x564C, "ncp"},
                                                                                  {0xAAD7AAEA, "panfs"},
                                                                                  {0x786F4256, "vboxsf"}}};
  const auto* const found = std::ranges::find(kNetworks, type, [](const auto& one) { return one.first; });
  return found == kNetworks.end() ? std::string_view() : found->second;
}

std::optional<std::uint32_t> type_of_file_system(const std::filesystem::path& path) {
  struct statfs there {};
  if (::statfs(path.c_str(), &there) != 0) return std::nullopt;
  return static_cast<std::uint32_t>(there.f_type);  // 32-bit numbers, signed on some machines
}

std::string remark_on_network(const std::vector<OwnFile>& files, const AskType& ask) {
  std::string all;
  for (const OwnFile& file : files) {
    std::filesystem::path at = std::filesystem::path(file.path).lexically_normal();
    std::optional<std::uint32_t> type = ask(at);
    while (!type && at.has_relative_path()) {
      at = at.parent_path();
      type = ask(at.empty() ? "." : at);
    }
    const std::string_view name = type ? network_file_system(*type) : std::string_view();
    if (!name.empty())
      all += fmt::format("{}{} {} is on {}", all.empty() ? "" : ", ", file.what, file.path.string(), name);
  }
  if (all.empty()) return all;
  return all +
         "; locks, removed files and power cuts are as that server has them: use a local disk, or see \"Network "
         "file systems\" in sluiced(8)";
}

}  // namespace sluiced::host
