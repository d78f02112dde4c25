// Linked into a sluiced of the tests' own, in place of the library's journal/disk.cc: the process ends by SIGKILL, as
// it would by `kill -9`, at the instant that its environment names. Any thread.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "journal/disk.h"
#include "support/instants.h"

namespace {

static_assert(test::kInstantNames.size() == sluice::kInstants);

struct End {
  std::size_t instant = sluice::kInstants;  // none
  std::uint64_t pass = 0;
};

End end_of(const char* text) {
  if (text == nullptr) return {};
  const std::string_view all(text);
  const std::size_t colon = all.find(':');
  const auto* const name = std::ranges::find(test::kInstantNames, all.substr(0, colon));
  if (name == test::kInstantNames.end() || colon == std::string_view::npos) ::_exit(64);
  return {static_cast<std::size_t>(name - test::kInstantNames.begin()),
          std::strtoull(std::string(all.substr(colon + 1)).c_str(), nullptr, 10)};
}

const End end = end_of(std::getenv(test::kEndAtInstant));
std::atomic<std::uint64_t> passes{0};

}  // namespace

namespace sluice {

void Disk::pass(Instant now) noexcept {
  if (static_cast<std::size_t>(now) != end.instant || passes.fetch_add(1) + 1 != end.pass) return;
  ::kill(::getpid(), SIGKILL);
}

}  // namespace sluice
