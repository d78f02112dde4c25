// See the header.
#include "support/fifo.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include <array>
#include <chrono>
#include <string_view>
#include <utility>

#include "support/delivered.h"

namespace test {

using namespace std::chrono_literals;

namespace {

constexpr milliseconds kQuiet{200};  // nothing more comes

}  // namespace

Fifo::Fifo(std::filesystem::path path) : path_(std::move(path)) {
  must(::mkfifo(path_.c_str(), 0600), "mkfifo");
  fd_ = Fd(must(::open(path_.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC), "open the pipe"));
  thread_ = std::jthread([this] { read_all(); });
}

Fifo::~Fifo() { finishing_.store(true); }

bool Fifo::wait_size(std::size_t lines, milliseconds limit) const {
  const auto until = Clock::now() + limit;
  while (size() < lines) {
    if (Clock::now() > until) return false;
    std::this_thread::sleep_for(100us);  // between looks; the count is what is waited for
  }
  return true;
}

const std::vector<std::size_t>& Fifo::finish() {
  finishing_.store(true);
  if (thread_.joinable()) thread_.join();
  return numbers_;
}

void Fifo::read_all() {
  std::array<char, 65536> bytes;
  for (;;) {
    const bool finishing = finishing_.load();
    if (!reading_.load() && !finishing) {
      std::this_thread::sleep_for(100us);  // it hangs
      continue;
    }
    pollfd one{fd_.get(), POLLIN, 0};
    if (::poll(&one, 1, finishing ? static_cast<int>(kQuiet.count()) : 1) <= 0) {
      if (finishing) return;
      continue;
    }
    const ssize_t n = ::read(fd_.get(), bytes.data(), bytes.size());
    if (n <= 0) continue;
    rest_.append(bytes.data(), static_cast<std::size_t>(n));
    std::size_t begin = 0;
    for (auto end = rest_.find('\n'); end != std::string::npos; end = rest_.find('\n', begin)) {
      numbers_.push_back(number_of(std::string_view(rest_).substr(begin, end - begin)));
      begin = end + 1;
    }
    rest_.erase(0, begin);
    size_.store(numbers_.size());
  }
}

}  // namespace test
