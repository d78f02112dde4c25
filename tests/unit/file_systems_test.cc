// A state directory or a sink's file on a network's file system is said at the start: by the number that the system
// gives, which a test gives here.
#include <doctest/doctest.h>

#include <map>
#include <optional>
#include <string>

#include "host/file_systems.h"
#include "support/temp_dir.h"

namespace {

using sluiced::host::AskType;
using sluiced::host::remark_on_network;

constexpr std::uint32_t kExt4 = 0xEF53, kNfs = 0x6969;

// Nothing for what is not there.
AskType mounts(std::map<std::string, std::uint32_t> types) {
  return [types = std::move(types)](const std::filesystem::path& path) -> std::optional<std::uint32_t> {
    const auto found = types.find(path.string());
    return found == types.end() ? std::nullopt : std::optional(found->second);
  };
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("file systems: those of a network are known by their numbers, those of a disk are none") {
  for (const std::uint32_t type : {0x6969U, 0xFF534D42U, 0xFE534D42U, 0x65735546U, 0x01021997U, 0x00C36400U})
    CHECK_FALSE(sluiced::host::network_file_system(type).empty());
  // ext4, xfs, btrfs, zfs, tmpfs, overlay, f2fs
  for (const std::uint32_t type :
       {0xEF53U, 0x58465342U, 0x9123683EU, 0x2FC12FC1U, 0x01021994U, 0x794C7630U, 0xF2F52010U})
    CHECK(sluiced::host::network_file_system(type).empty());
  const test::TempDir dir;
  CHECK(sluiced::host::type_of_file_system(dir.path()).has_value());
  CHECK_FALSE(sluiced::host::type_of_file_system(dir.path() / "none").has_value());
}

TEST_CASE("file systems: one line names all files that are on a network's, and none is said of local ones") {
  const AskType ask = mounts({{"/", kExt4}, {"/nfs", kNfs}, {"/nfs/state", kNfs}, {"/srv", kExt4}, {"/srv/x", kExt4}});
  CHECK(remark_on_network({{"the state directory", "/srv/x"}, {"the sink's file", "/srv/y"}}, ask).empty());
  const std::string both =
      remark_on_network({{"the state directory", "/nfs/state"}, {"the sink's file", "/nfs/out.ndjson"}}, ask);
  CHECK(both.starts_with("the state directory /nfs/state is on nfs, the sink's file /nfs/out.ndjson is on nfs; "));
  CHECK(both.find('\n') == std::string::npos);
  const std::string one = remark_on_network({{"the state directory", "/srv/x"}, {"the sink's file", "/nfs/out"}}, ask);
  CHECK(one.starts_with("the sink's file /nfs/out is on nfs; "));
}

TEST_CASE("file systems: what is not there yet is where its directory is, or the first above that is there") {
  const AskType ask = mounts({{"/", kExt4}, {"/nfs", kNfs}, {".", kNfs}});
  CHECK(has(remark_on_network({{"it", "/nfs/a/b/c"}}, ask), "it /nfs/a/b/c is on nfs"));
  CHECK(has(remark_on_network({{"it", "/nfs/"}}, ask), "is on nfs"));
  CHECK(remark_on_network({{"it", "/srv/a/b/c"}}, ask).empty());
  CHECK(has(remark_on_network({{"it", "out.ndjson"}}, ask), "it out.ndjson is on nfs"));
  CHECK(has(remark_on_network({{"it", "a/b"}}, ask), "is on nfs"));
  CHECK(remark_on_network({{"it", "/nfs/../srv/a"}}, ask).empty());
  CHECK(remark_on_network({{"it", ""}}, mounts({})).empty());  // where nothing is known nothing is said
}
