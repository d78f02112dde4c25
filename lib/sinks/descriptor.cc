// See the header.
#include "sinks/descriptor.h"

#include <sys/types.h>
#include <unistd.h>

#include <cerrno>

namespace sluice {

std::error_code last_error() noexcept { return {errno, std::generic_category()}; }

Descriptor::~Descriptor() {
  if (number_ >= 0) ::close(number_);
}

std::error_code Descriptor::read(std::span<char> buffer, std::string_view& got) const {
  for (;;) {
    const ssize_t n = ::read(number_, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return last_error();
    got = {buffer.data(), static_cast<std::size_t>(n)};
    return {};
  }
}

std::error_code Descriptor::write(std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t n = ::write(number_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n < 0 ? last_error() : std::make_error_code(std::errc::io_error);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

}  // namespace sluice
