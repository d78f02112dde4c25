// A tmpfs on a temporary directory.
#include "support/small_disk.h"

#include <fmt/format.h>
#include <sys/mount.h>
#include <unistd.h>

#include <fstream>
#include <stdexcept>
#include <string>

#include "support/fd.h"

namespace test {
namespace {

std::filesystem::path ballast_in(const std::filesystem::path& disk) { return disk / "ballast"; }
std::filesystem::path rest_in(const std::filesystem::path& disk) { return disk / "rest"; }

}  // namespace

bool cannot_mount() {
  if (::geteuid() == 0) return false;
  fmt::print("skipped: a small file system needs root\n");
  return true;
}

SmallDisk::SmallDisk(std::size_t bytes, std::size_t ballast) {
  const std::string options = fmt::format("size={}", bytes);
  must(::mount("tmpfs", path().c_str(), "tmpfs", 0, options.c_str()), "mount");
  if (ballast == 0) return;
  std::ofstream(ballast_in(path()), std::ios::binary) << std::string(ballast, 'b');
  if (std::filesystem::file_size(ballast_in(path())) != ballast) throw std::runtime_error("too small for its ballast");
}

SmallDisk::~SmallDisk() { ::umount2(path().c_str(), MNT_DETACH); }

void SmallDisk::drop_ballast() const { std::filesystem::remove(ballast_in(path())); }

void SmallDisk::fill() const {
  std::ofstream rest(rest_in(path()), std::ios::binary);
  const std::string page(4096, 'r');
  while (rest.write(page.data(), static_cast<std::streamsize>(page.size())).flush()) {
  }
}

void SmallDisk::empty_again() const { std::filesystem::remove(rest_in(path())); }

void SmallDisk::make_writable() const {
  must(::mount(nullptr, path().c_str(), nullptr, MS_REMOUNT, nullptr), "remount");
}

void SmallDisk::make_read_only() const {
  must(::mount(nullptr, path().c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr), "remount");
}

}  // namespace test
