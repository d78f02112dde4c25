// The page of the bad disk.
#include "support/bad_disk.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <new>
#include <sstream>
#include <thread>
#include <utility>

#include "support/fd.h"

namespace test {

BadDisk::BadDisk(std::filesystem::path below) : below_(std::move(below)) {
  const Fd page(must(::open((dir_.path() / "page").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600), "open the page"));
  must(::ftruncate(page.get(), sizeof(BadDiskControl)), "ftruncate");
  void* const mapped = ::mmap(nullptr, sizeof(BadDiskControl), PROT_READ | PROT_WRITE, MAP_SHARED, page.get(), 0);
  if (mapped == MAP_FAILED) must(-1, "mmap");
  control_ = new (mapped) BadDiskControl;
}

BadDisk::~BadDisk() { ::munmap(control_, sizeof(BadDiskControl)); }

std::vector<std::string> BadDisk::environment() const {
  return {std::string("LD_PRELOAD=") + BAD_DISK_PATH, std::string(kBadDiskPage) + "=" + (dir_.path() / "page").string(),
          std::string(kBadDiskBelow) + "=" + below_.string()};
}

void BadDisk::set(std::initializer_list<DiskCall> calls, int how) {
  for (const DiskCall call : calls) control_->of[static_cast<std::size_t>(call)].store(how);
}

void BadDisk::fail(std::initializer_list<DiskCall> calls, int error) { set(calls, error); }

void BadDisk::hold(std::initializer_list<DiskCall> calls) { set(calls, BadDiskControl::kHeld); }

void BadDisk::cut_writes_short() { set({DiskCall::write}, BadDiskControl::kShort); }

void BadDisk::tear_writes(int error) { set({DiskCall::write}, BadDiskControl::kTorn | error); }

void BadDisk::spare_writes_up_to(std::size_t bytes) { control_->spared_bytes.store(bytes); }

void BadDisk::make_unreadable(std::size_t from, std::size_t to) {
  control_->unreadable_from.store(from);
  control_->unreadable_to.store(to);
}

void BadDisk::pretend_file_system(std::uint32_t type) { control_->file_system.store(type); }

void BadDisk::mend() {
  control_->unreadable_to.store(0);
  for (std::atomic<int>& how : control_->of) how.store(BadDiskControl::kFine);
  control_->spared_bytes.store(0);
}

std::vector<std::string> BadDisk::diary() const {
  const std::size_t size = std::min(control_->diary_bytes.load(), BadDiskControl::kDiaryBytes);
  std::istringstream all(std::string(control_->diary.data(), size));
  std::vector<std::string> lines;
  for (std::string line; std::getline(all, line);) lines.push_back(line);
  return lines;
}

bool BadDisk::wait_held(milliseconds limit) const {
  const auto until = Clock::now() + limit;
  while (control_->held.load() == 0) {
    if (Clock::now() > until) return false;
    std::this_thread::sleep_for(milliseconds(1));  // between looks
  }
  return true;
}

}  // namespace test
