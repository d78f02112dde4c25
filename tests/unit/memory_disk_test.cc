// The disk of the tests itself: a twin that forgets what was synced would find faults that are none, and one that keeps
// too much finds none at all. So each kind of loss must be seen to happen, over many seeds.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "model/memory_disk.h"

using namespace model;
using sluice::Disk;
using sluice::DiskFile;
using sluice::Instant;

namespace {

constexpr std::uint64_t kSeeds = 300;

std::unique_ptr<DiskFile> made(MemoryDisk& disk, const std::string& name) {
  std::unique_ptr<DiskFile> file;
  REQUIRE_FALSE(disk.open(name, Disk::Open::create, file));
  return file;
}

std::unique_ptr<DiskFile> opened(MemoryDisk& disk, const std::string& name) {
  std::unique_ptr<DiskFile> file;
  REQUIRE_FALSE(disk.open(name, Disk::Open::write, file));
  return file;
}

std::error_code write(DiskFile& file, std::uint64_t offset, std::string_view text) {
  const std::span<const std::byte> piece = std::as_bytes(std::span(text));
  return file.write(offset, {&piece, 1});
}

std::string read(DiskFile& file, std::uint64_t offset, std::size_t size) {
  std::string text(size, '?');
  std::size_t got = 0;
  REQUIRE_FALSE(file.read(offset, std::as_writable_bytes(std::span(text)), got));
  text.resize(got);
  return text;
}

// A file that is there for good, name and all.
std::unique_ptr<DiskFile> synced(MemoryDisk& disk, const std::string& name, std::string_view text) {
  auto file = made(disk, name);
  REQUIRE_FALSE(write(*file, 0, text));
  REQUIRE_FALSE(file->sync());
  REQUIRE_FALSE(disk.sync_directory());
  return file;
}

std::string blocks(char byte, std::size_t count) { return std::string(count * kBlock, byte); }

bool has(const MemoryDisk& disk, const std::string& name) {
  const auto names = disk.names();
  return std::find(names.begin(), names.end(), name) != names.end();
}

constexpr const char* kGone = "(gone)";

// What the file may be after the power was cut behind these steps, over many seeds.
template <typename Steps>
std::set<std::string> outcomes(const std::string& name, Steps steps) {
  std::set<std::string> all;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    MemoryDisk disk(seed);
    steps(disk);
    disk.cut();
    const auto next = disk.reboot();
    all.insert(has(*next, name) ? next->bytes(name) : kGone);
  }
  return all;
}

// The same for the names that there are.
template <typename Steps>
std::set<std::vector<std::string>> outcomes_of_names(Steps steps) {
  std::set<std::vector<std::string>> all;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    MemoryDisk disk(seed);
    steps(disk);
    disk.cut();
    all.insert(disk.reboot()->names());
  }
  return all;
}

}  // namespace

TEST_SUITE_BEGIN("memory_disk");

TEST_CASE("memory_disk: while the power is on, a file is what was written") {
  MemoryDisk disk(1);
  const auto file = made(disk, "a");
  REQUIRE_FALSE(write(*file, 0, "hello"));
  REQUIRE_FALSE(write(*file, 8, "world"));
  CHECK(read(*file, 0, 100) == std::string("hello\0\0\0world", 13));
  CHECK(read(*file, 8, 3) == "wor");
  CHECK(read(*file, 13, 3).empty());
  const std::string_view two[] = {"ab", "cd"};
  const std::span<const std::byte> pieces[] = {std::as_bytes(std::span(two[0])), std::as_bytes(std::span(two[1]))};
  REQUIRE_FALSE(file->write(1, pieces));
  CHECK(disk.bytes("a") == std::string("habcd\0\0\0world", 13));

  REQUIRE_FALSE(file->truncate(2));
  REQUIRE_FALSE(file->preallocate(6));
  REQUIRE_FALSE(file->preallocate(4));
  CHECK(disk.bytes("a") == std::string("ha\0\0\0\0", 6));
  DiskFile::Stat stat;
  REQUIRE_FALSE(file->stat(stat));
  CHECK(stat.size == 6);
  CHECK(stat.links == 1);
}

TEST_CASE("memory_disk: names are created once, opened if there, replaced by a rename") {
  MemoryDisk disk(1);
  std::unique_ptr<DiskFile> file;
  CHECK(disk.open("a", Disk::Open::write, file) == std::errc::no_such_file_or_directory);
  CHECK(disk.open("a", Disk::Open::read, file) == std::errc::no_such_file_or_directory);
  synced(disk, "a", "first");
  CHECK(disk.open("a", Disk::Open::create, file) == std::errc::file_exists);
  REQUIRE_FALSE(disk.open("a", Disk::Open::read, file));
  CHECK(write(*file, 0, "x") == std::errc::bad_file_descriptor);

  synced(disk, "b", "second");
  REQUIRE_FALSE(disk.open("a", Disk::Open::write, file));  // one handle takes another's place
  REQUIRE_FALSE(disk.rename("b", "a"));
  CHECK(disk.names() == std::vector<std::string>{"a"});
  CHECK(disk.bytes("a") == "second");
  CHECK(disk.bytes_if_there("a") == "second");
  CHECK_FALSE(disk.bytes_if_there("b"));
  DiskFile::Stat stat;
  REQUIRE_FALSE(file->stat(stat));
  CHECK(stat.links == 0);
  CHECK(read(*file, 0, 10) == "first");

  CHECK(disk.rename("b", "a") == std::errc::no_such_file_or_directory);
  REQUIRE_FALSE(disk.unlink("a"));
  CHECK(disk.unlink("a") == std::errc::no_such_file_or_directory);
  std::vector<std::string> names{"old"};
  REQUIRE_FALSE(disk.list(names));
  CHECK(names.empty());
}

TEST_CASE("memory_disk: what was synced, name and bytes, survives every power cut") {
  const auto all = outcomes("a", [](MemoryDisk& disk) {
    const auto file = synced(disk, "a", blocks('s', 3));
    REQUIRE_FALSE(write(*file, 4 * kBlock, blocks('u', 2)));  // not synced, and elsewhere
    REQUIRE_FALSE(write(*made(disk, "b"), 0, "unsynced"));
  });
  for (const auto& bytes : all) CHECK(bytes.substr(0, 3 * kBlock) == blocks('s', 3));
  CHECK(all.size() > 3);
}

TEST_CASE("memory_disk: an unsynced block is seen lost, kept, torn by sectors, and as it was in between") {
  const auto all = outcomes("a", [](MemoryDisk& disk) {
    const auto file = synced(disk, "a", blocks('0', 1));
    REQUIRE_FALSE(write(*file, 0, blocks('1', 1)));
    REQUIRE_FALSE(write(*file, 0, blocks('2', 1)));
  });
  CHECK(all.contains(blocks('0', 1)));
  CHECK(all.contains(blocks('1', 1)));
  CHECK(all.contains(blocks('2', 1)));
  bool torn = false;
  for (const auto& bytes : all) {
    CHECK(bytes.size() == kBlock);
    std::set<char> contents(bytes.begin(), bytes.end());
    CHECK(contents.size() <= 2);
    torn = torn || contents.size() == 2;
    for (std::size_t i = 0; i < bytes.size(); ++i) REQUIRE(bytes[i] == bytes[i / kSector * kSector]);
  }
  CHECK(torn);
}

TEST_CASE("memory_disk: sectors that were durable and not rewritten with other bytes never change") {
  const auto all = outcomes("a", [](MemoryDisk& disk) {
    const auto file = synced(disk, "a", blocks('0', 1));
    REQUIRE_FALSE(write(*file, 1000, std::string(100, '1')));
  });
  for (const auto& bytes : all) {
    CHECK(bytes.substr(0, 1000) == std::string(1000, '0'));
    CHECK(bytes.substr(1100) == std::string(kBlock - 1100, '0'));
  }
  CHECK(all.size() == 4);  // 1000 .. 1100 lies in two sectors
}

TEST_CASE("memory_disk: a later write is seen to survive an earlier one") {
  const auto all = outcomes("a", [](MemoryDisk& disk) {
    const auto file = synced(disk, "a", blocks('0', 2));
    REQUIRE_FALSE(write(*file, 0, blocks('1', 1)));
    REQUIRE_FALSE(write(*file, kBlock, blocks('2', 1)));
  });
  CHECK(all.contains(blocks('0', 1) + blocks('2', 1)));
  CHECK(all.contains(blocks('1', 1) + blocks('0', 1)));
  CHECK(all.contains(blocks('1', 1) + blocks('2', 1)));
}

TEST_CASE("memory_disk: a file that grew has any of its sizes, and where its data was lost it reads as zeros") {
  const auto all = outcomes("a", [](MemoryDisk& disk) {
    const auto file = synced(disk, "a", "0");
    REQUIRE_FALSE(write(*file, kBlock, blocks('1', 1)));
    REQUIRE_FALSE(write(*file, 2 * kBlock, blocks('2', 1)));
  });
  const std::string start = "0" + std::string(kBlock - 1, '\0');
  const std::string zeros = blocks('\0', 1);
  CHECK(all.contains("0"));
  CHECK(all.contains(start + blocks('1', 1)));
  CHECK(all.contains(start + zeros));
  CHECK(all.contains(start + zeros + blocks('2', 1)));
  CHECK(all.contains(start + blocks('1', 1) + zeros));
  CHECK(all.contains(start + blocks('1', 1) + blocks('2', 1)));
  for (const auto& bytes : all) CHECK((bytes.size() == 1 || bytes.size() == 2 * kBlock || bytes.size() == 3 * kBlock));
}

TEST_CASE("memory_disk: a lost block of a new file may be what a removed file left, but not in preallocated room") {
  const auto steps = [](MemoryDisk& disk, bool preallocated) {
    synced(disk, "old", blocks('g', 4));
    REQUIRE_FALSE(disk.unlink("old"));
    REQUIRE_FALSE(disk.sync_directory());
    const auto file = synced(disk, "a", "");
    if (preallocated) REQUIRE_FALSE(file->preallocate(4 * kBlock));
    REQUIRE_FALSE(write(*file, 0, blocks('n', 4)));
  };
  const auto ghosts = [](const std::set<std::string>& all) {
    return std::any_of(all.begin(), all.end(),
                       [](const std::string& bytes) { return bytes.find('g') != std::string::npos; });
  };
  CHECK(ghosts(outcomes("a", [&](MemoryDisk& disk) { steps(disk, false); })));
  CHECK_FALSE(ghosts(outcomes("a", [&](MemoryDisk& disk) { steps(disk, true); })));
}

TEST_CASE("memory_disk: an unsynced truncation is kept or lost, a synced one is kept") {
  const auto unsynced =
      outcomes("a", [](MemoryDisk& disk) { REQUIRE_FALSE(synced(disk, "a", blocks('0', 2))->truncate(kBlock)); });
  CHECK(unsynced.contains(blocks('0', 1)));
  CHECK(unsynced.contains(blocks('0', 2)));
  const auto kept = outcomes("a", [](MemoryDisk& disk) {
    const auto file = synced(disk, "a", blocks('0', 2));
    REQUIRE_FALSE(file->truncate(kBlock));
    REQUIRE_FALSE(file->sync());
    REQUIRE_FALSE(file->preallocate(2 * kBlock));
    REQUIRE_FALSE(file->sync());
  });
  CHECK(kept == std::set<std::string>{blocks('0', 1) + blocks('\0', 1)});
}

TEST_CASE("memory_disk: a new name that no sync of the directory covered may vanish, though its bytes were synced") {
  const auto all = outcomes("a", [](MemoryDisk& disk) {
    const auto file = made(disk, "a");
    REQUIRE_FALSE(write(*file, 0, "synced"));
    REQUIRE_FALSE(file->sync());
  });
  CHECK(all == std::set<std::string>{kGone, "synced"});
}

TEST_CASE("memory_disk: a synced directory keeps a new name, but not the bytes behind it") {
  const auto all = outcomes("a", [](MemoryDisk& disk) {
    REQUIRE_FALSE(write(*made(disk, "a"), 0, "unsynced"));
    REQUIRE_FALSE(disk.sync_directory());
  });
  CHECK_FALSE(all.contains(kGone));
  CHECK(all.contains(""));
  CHECK(all.contains("unsynced"));
}

TEST_CASE("memory_disk: an unsynced unlink may come back, with all that was synced") {
  const auto steps = [](MemoryDisk& disk) {
    synced(disk, "a", "here");
    REQUIRE_FALSE(disk.unlink("a"));
  };
  CHECK(outcomes("a", steps) == std::set<std::string>{kGone, "here"});
  const auto synced_too = [&](MemoryDisk& disk) {
    steps(disk);
    REQUIRE_FALSE(disk.sync_directory());
  };
  CHECK(outcomes("a", synced_too) == std::set<std::string>{kGone});
}

TEST_CASE("memory_disk: of several unsynced names each is kept or lost for itself") {
  const auto all = outcomes_of_names([](MemoryDisk& disk) {
    synced(disk, "old", "");
    made(disk, "a");
    made(disk, "b");
    REQUIRE_FALSE(disk.unlink("old"));
  });
  CHECK(all.size() == 8);
}

TEST_CASE("memory_disk: changes of one name survive in their order") {
  const auto all = outcomes("a", [](MemoryDisk& disk) {
    synced(disk, "a", "first");
    REQUIRE_FALSE(disk.unlink("a"));
    const auto file = made(disk, "a");
    REQUIRE_FALSE(write(*file, 0, "second"));
    REQUIRE_FALSE(file->sync());
  });
  CHECK(all == std::set<std::string>{"first", kGone, "second"});
}

TEST_CASE("memory_disk: a rename is done or not, and its target is never without a file") {
  const auto steps = [](MemoryDisk& disk) {
    synced(disk, "a", "old");
    synced(disk, "b", "new");
    REQUIRE_FALSE(disk.rename("b", "a"));
  };
  CHECK(outcomes("a", steps) == std::set<std::string>{"old", "new"});
  CHECK(outcomes("b", steps) == std::set<std::string>{"new", kGone});
  CHECK(outcomes_of_names(steps) == std::set<std::vector<std::string>>{{"a"}, {"a", "b"}});
}

TEST_CASE("memory_disk: a failed sync loses pages, and the next one, which succeeds, does not write them") {
  bool lost = false, kept = false, read_again = false;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    MemoryDisk disk(seed);
    const auto file = synced(disk, "a", blocks('0', 1));
    REQUIRE_FALSE(write(*file, 0, blocks('1', 1)));
    disk.fail({.call = Call::sync});
    CHECK(file->sync() == std::errc::io_error);
    CHECK(disk.bytes("a") == blocks('1', 1));  // still visible
    CHECK_FALSE(file->sync());
    read_again = read_again || read(*file, 0, kBlock) != blocks('1', 1);
    disk.cut();
    const std::string survived = disk.reboot()->bytes("a");
    lost = lost || survived == blocks('0', 1);
    kept = kept || survived == blocks('1', 1);
  }
  CHECK(lost);
  CHECK(kept);
  CHECK(read_again);
}

TEST_CASE(
    "memory_disk: a failed sync destroys a sector of what it was to replace, if it is asked to, and no other block") {
  for (const bool asked : {false, true}) {
    bool destroyed = false;
    for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
      MemoryDisk disk(seed);
      if (asked) disk.destroy_what_fails([](std::string_view name) { return name == "a"; });
      const auto file = synced(disk, "a", blocks('0', 2));
      REQUIRE_FALSE(write(*file, kBlock + 100, "1"));
      disk.fail({.call = Call::sync});
      CHECK(file->sync() == std::errc::io_error);
      CHECK((disk.destroyed([](std::string_view) { return true; }) > 0) <= asked);
      disk.cut();
      const std::string survived = disk.reboot()->bytes("a");
      CHECK(survived.substr(0, kBlock) == blocks('0', 1));
      const auto is_noise = [](char byte) { return byte != '0' && byte != '1'; };
      const auto noise = std::ranges::count_if(survived, is_noise);
      CHECK(noise <= static_cast<std::ptrdiff_t>(model::kSector));
      destroyed = destroyed || noise > 0;
    }
    CHECK(destroyed == asked);
  }
}

TEST_CASE("memory_disk: what is written anew after a failed sync is synced like anything else") {
  const auto all = outcomes("a", [](MemoryDisk& disk) {
    const auto file = synced(disk, "a", "");
    REQUIRE_FALSE(write(*file, 0, blocks('1', 2)));
    disk.fail({.call = Call::sync});
    CHECK(file->sync());
    REQUIRE_FALSE(write(*file, 0, blocks('2', 2)));
    REQUIRE_FALSE(file->sync());
  });
  CHECK(all == std::set<std::string>{blocks('2', 2)});
}

TEST_CASE("memory_disk: a failed write has written a part, a full disk as much as there was room") {
  std::set<std::size_t> sizes;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    MemoryDisk disk(seed);
    const auto file = made(disk, "a");
    disk.fail({.call = Call::write, .nth = 2, .error = std::errc::no_space_on_device});
    REQUIRE_FALSE(write(*file, 0, "x"));
    CHECK(write(*file, 0, "0123456789") == std::errc::no_space_on_device);
    sizes.insert(disk.bytes("a").size());
    CHECK_FALSE(write(*file, 0, "0123456789"));  // once
  }
  CHECK(sizes.size() == 9);  // 1 .. 9

  MemoryDisk disk(1);
  const auto file = made(disk, "a");
  disk.set_capacity(2 * kBlock);
  CHECK(write(*file, 100, blocks('1', 2)) == std::errc::no_space_on_device);
  CHECK(disk.bytes("a").size() == 2 * kBlock);
  CHECK(file->preallocate(3 * kBlock) == std::errc::no_space_on_device);
  CHECK_FALSE(write(*file, 0, blocks('2', 2)));  // there is room where something stands
  CHECK(disk.used() == 2 * kBlock);
  CHECK(write(*made(disk, "b"), 0, "x") == std::errc::no_space_on_device);
  REQUIRE_FALSE(file->truncate(10));
  CHECK_FALSE(write(*opened(disk, "b"), 0, "x"));
  disk.heal();
  CHECK_FALSE(file->preallocate(9 * kBlock));
}

TEST_CASE("memory_disk: preallocated room needs no more, and room of a removed file is back once it is closed") {
  MemoryDisk disk(1);
  disk.set_capacity(4 * kBlock);
  auto file = made(disk, "a");
  REQUIRE_FALSE(file->preallocate(4 * kBlock));
  REQUIRE_FALSE(write(*file, 0, blocks('1', 4)));
  REQUIRE_FALSE(disk.unlink("a"));
  const auto other = made(disk, "b");
  CHECK(write(*other, 0, "x") == std::errc::no_space_on_device);
  file.reset();
  CHECK_FALSE(write(*other, 0, "x"));
}

TEST_CASE("memory_disk: a fault hits only the files that it is meant for, and lasts until it is healed if it is to") {
  MemoryDisk disk(1);
  const auto here = made(disk, "here"), there = made(disk, "there");
  disk.fail({.call = Call::sync, .lasts = true, .where = [](std::string_view name) { return name == "there"; }});
  for (int i = 0; i < 3; ++i) {
    CHECK_FALSE(here->sync());
    CHECK(there->sync());
  }
  disk.heal();
  CHECK_FALSE(there->sync());
  for (const Call call : {Call::create, Call::rename, Call::unlink, Call::sync_directory, Call::list, Call::open}) {
    disk.fail({.call = call, .lasts = true});
  }
  std::unique_ptr<DiskFile> file;
  std::vector<std::string> names;
  CHECK(disk.open("new", Disk::Open::create, file) == std::errc::io_error);
  CHECK(disk.open("here", Disk::Open::read, file) == std::errc::io_error);
  CHECK(disk.rename("here", "x") == std::errc::io_error);
  CHECK(disk.unlink("here") == std::errc::io_error);
  CHECK(disk.sync_directory() == std::errc::io_error);
  CHECK(disk.list(names) == std::errc::io_error);
  CHECK(disk.names() == std::vector<std::string>{"here", "there"});
}

TEST_CASE("memory_disk: files of a removed directory go on working, without links, until somebody makes a new one") {
  MemoryDisk disk(1);
  const auto file = synced(disk, "a", "x");
  disk.remove_directory();
  CHECK_FALSE(write(*file, 0, "y"));
  CHECK_FALSE(file->sync());
  DiskFile::Stat stat;
  REQUIRE_FALSE(file->stat(stat));
  CHECK(stat.links == 0);
  std::unique_ptr<DiskFile> other;
  CHECK(disk.open("b", Disk::Open::create, other) == std::errc::no_such_file_or_directory);
  CHECK_FALSE(disk.sync_directory());
  REQUIRE_FALSE(disk.hold());
  CHECK(disk.names().empty());
  CHECK_FALSE(disk.open("b", Disk::Open::create, other));
  disk.cut();
  CHECK_FALSE(has(*disk.reboot(), "a"));
}

TEST_CASE("memory_disk: a file that was removed alone goes on working, without links, and does not come back") {
  MemoryDisk disk(1);
  const auto file = synced(disk, "a", "x");
  const auto other = synced(disk, "b", "y");
  disk.remove_file("a");
  CHECK_FALSE(write(*file, 0, "z"));
  CHECK_FALSE(file->sync());
  DiskFile::Stat stat;
  REQUIRE_FALSE(file->stat(stat));
  CHECK(stat.links == 0);
  REQUIRE_FALSE(other->stat(stat));
  CHECK(stat.links == 1);
  disk.cut();
  CHECK(disk.reboot()->names() == std::vector<std::string>{"b"});
}

TEST_CASE("memory_disk: a file that is not in the removed directory keeps its name") {
  MemoryDisk disk(1);
  const auto here = synced(disk, "here", "x");
  const auto elsewhere = synced(disk, "elsewhere", "y");
  disk.remove_directory("elsewhere");
  CHECK(disk.names() == std::vector<std::string>{"elsewhere"});
  DiskFile::Stat stat;
  REQUIRE_FALSE(elsewhere->stat(stat));
  CHECK(stat.links == 1);
  REQUIRE_FALSE(here->stat(stat));
  CHECK(stat.links == 0);
}

TEST_CASE("memory_disk: a dead world refuses everything and changes nothing") {
  for (const End how : {End::power_cut, End::kill}) {
    MemoryDisk disk(1);
    const auto file = synced(disk, "a", "x");
    disk.end(how);
    disk.end(End::kill);  // there is one end
    CHECK(disk.ended_by() == how);
    const auto next = disk.reboot();
    DiskFile::Stat stat;
    std::size_t got = 0;
    std::vector<std::string> names;
    std::unique_ptr<DiskFile> other;
    std::array<std::byte, 1> room{};
    CHECK(write(*file, 0, "y") == std::errc::io_error);
    CHECK(file->read(0, room, got) == std::errc::io_error);
    CHECK(file->sync() == std::errc::io_error);
    CHECK(file->truncate(0) == std::errc::io_error);
    CHECK(file->preallocate(10) == std::errc::io_error);
    CHECK(file->stat(stat) == std::errc::io_error);
    CHECK(disk.hold() == std::errc::io_error);
    CHECK(disk.open("a", Disk::Open::write, other) == std::errc::io_error);
    CHECK(disk.open("b", Disk::Open::create, other) == std::errc::io_error);
    CHECK(disk.rename("a", "b") == std::errc::io_error);
    CHECK(disk.unlink("a") == std::errc::io_error);
    CHECK(disk.sync_directory() == std::errc::io_error);
    CHECK(disk.list(names) == std::errc::io_error);
    disk.pass(Instant::before_sync);
    CHECK(disk.bytes("a") == "x");
    CHECK(disk.reboot()->bytes("a") == "x");
    CHECK(read(*opened(*next, "a"), 0, 1) == "x");  // the next one lives
  }
}

TEST_CASE("memory_disk: a kill keeps all that was written, and syncs none of it") {
  std::set<std::string> after_cut;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    MemoryDisk disk(seed);
    synced(disk, "old", "");
    const auto file = made(disk, "a");
    REQUIRE_FALSE(write(*file, 0, "unsynced"));
    REQUIRE_FALSE(disk.rename("old", "new"));
    disk.kill();
    const auto next = disk.reboot();
    CHECK(next->names() == std::vector<std::string>{"a", "new"});
    CHECK(next->bytes("a") == "unsynced");
    next->cut();
    const auto last = next->reboot();
    after_cut.insert(has(*last, "a") ? last->bytes("a") : kGone);
    if (seed % 2 == 0) continue;
    REQUIRE_FALSE(disk.reboot()->sync_directory());  // a world can be made again, and goes another way
  }
  CHECK(after_cut.contains(kGone));
  CHECK(after_cut.contains(""));
  CHECK(after_cut.contains("unsynced"));
}

TEST_CASE("memory_disk: a world ends at the nth passing of an instant, not before and not at another") {
  MemoryDisk disk(1);
  disk.end_at(End::kill, Instant::before_sync, 2);
  const auto file = made(disk, "a");
  disk.pass(Instant::before_sync);
  disk.pass(Instant::after_sync);
  disk.pass(Instant::after_sync);
  CHECK_FALSE(disk.ended());
  CHECK_FALSE(write(*file, 0, "x"));
  disk.pass(Instant::before_sync);
  CHECK(disk.ended());
  CHECK(write(*file, 0, "y") == std::errc::io_error);
  CHECK(disk.reboot()->bytes("a") == "x");
  CHECK(disk.passed(Instant::before_sync) == 2);
}

TEST_CASE("memory_disk: a world ends before, during or after its nth call, and the caller learns nothing") {
  std::set<std::string> during;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    for (const Moment moment : {Moment::before, Moment::during, Moment::after}) {
      MemoryDisk disk(seed);
      const auto file = made(disk, "a");
      disk.end_at_call(End::kill, 2, moment);
      DiskFile::Stat stat;
      REQUIRE_FALSE(write(*file, 0, "___"));
      REQUIRE_FALSE(file->stat(stat));  // does not count
      CHECK(write(*file, 0, "abc") == std::errc::io_error);
      REQUIRE(disk.ended());
      const std::string bytes = disk.reboot()->bytes("a");
      if (moment == Moment::before) CHECK(bytes == "___");
      if (moment == Moment::after) CHECK(bytes == "abc");
      if (moment == Moment::during) during.insert(bytes);
    }
  }
  CHECK(during == std::set<std::string>{"___", "a__", "ab_"});
}

TEST_CASE(
    "memory_disk: a sync during which the power goes has saved nothing for certain, one after which it goes all") {
  const auto all = [](Moment moment) {
    return outcomes("a", [&](MemoryDisk& disk) {
      const auto file = synced(disk, "a", "0");
      REQUIRE_FALSE(write(*file, 0, "1"));
      disk.end_at_call(End::power_cut, 1, moment);
      CHECK(file->sync() == std::errc::io_error);
    });
  };
  CHECK(all(Moment::during) == std::set<std::string>{"0", "1"});
  CHECK(all(Moment::after) == std::set<std::string>{"1"});
}

TEST_CASE("memory_disk: the same seed gives the same world") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    std::string first;
    for (int i = 0; i < 2; ++i) {
      MemoryDisk disk(seed);
      const auto file = synced(disk, "a", blocks('0', 4));
      REQUIRE_FALSE(write(*file, kBlock, blocks('1', 5)));
      disk.fail({.call = Call::write});
      CHECK(write(*file, 0, blocks('2', 3)));
      disk.cut();
      const std::string bytes = disk.reboot()->bytes("a");
      if (i == 0) first = bytes;
      CHECK(bytes == first);
      CHECK(disk.reboot()->bytes("a") == first);
    }
  }
}

TEST_CASE("memory_disk: a test can look, and damage what is on the disk for good") {
  MemoryDisk disk(1);
  synced(disk, "a", "good");
  REQUIRE_FALSE(disk.unlink("a"));
  disk.replace("a", "bad");
  disk.replace("b", "new");
  const auto file = opened(disk, "a");
  CHECK(read(*file, 0, 10) == "bad");
  disk.replace("a", "worse");
  CHECK(read(*file, 0, 10) == "worse");
  disk.cut();
  CHECK(disk.reboot()->bytes("a") == "worse");
  CHECK(disk.reboot()->bytes("b") == "new");
  CHECK(disk.calls(Call::create) == 1);
  CHECK(disk.changing_calls() == 5);
}

TEST_CASE("memory_disk: the power goes while threads write, and each of them ends") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    MemoryDisk disk(seed);
    disk.end_at_call(End::power_cut, 100, Moment::during);
    const auto writer = [&](const std::string& name) {
      std::unique_ptr<DiskFile> file;
      std::error_code failed = disk.open(name, Disk::Open::create, file);
      for (std::uint64_t i = 0; !failed; ++i) {
        failed = write(*file, i * 100, "something");
        if (!failed && i % 3 == 0) failed = file->sync();
        if (!failed && i % 7 == 0) failed = disk.sync_directory();
      }
    };
    { std::jthread one(writer, "a"), other(writer, "b"); }
    CHECK(disk.ended());
    CHECK(disk.changing_calls() == 100);
    CHECK(disk.reboot()->names().size() <= 2);
  }
}

TEST_SUITE_END();

TEST_CASE("memory_disk: a directory is one process's, until that is gone or somebody removes the directory") {
  MemoryDisk disk(1);
  const auto its = disk.of_another_process();
  REQUIRE_FALSE(disk.hold());
  CHECK_FALSE(disk.same()->hold());
  CHECK(its->hold() == std::errc::operation_would_block);
  SUBCASE("gone") {
    disk.kill();
    const auto next = disk.reboot();
    CHECK_FALSE(next->of_another_process()->hold());
    CHECK(next->hold() == std::errc::operation_would_block);
  }
  SUBCASE("removed") {
    disk.remove_directory();
    CHECK_FALSE(its->hold());
    CHECK(disk.hold() == std::errc::operation_would_block);
  }
}
