// See the header.
#include "journal/health.h"

#include <fmt/format.h>

#include <utility>

#include "journal/tail_copy.h"

namespace sluice::journal {

std::string Health::cause() const {
  const std::lock_guard lock(mutex_);
  return cause_;
}

std::error_code Health::fail(const std::string& what, std::error_code error) {
  fail_because(fmt::format("{}: {}", what, error.message()));
  return error;
}

void Health::fail_because(std::string cause) {
  {
    const std::lock_guard lock(mutex_);
    cause_ = std::move(cause);
  }
  if (const SegmentPtr& active = table_.active()) {
    Written& written = active->written;
    {
      const std::lock_guard lock(table_.mutex());
      // What is not synced is not fed from here: recover() moves it.
      if (active->feed.end > written.synced) active->feed.end = written.synced;
    }
    if (!written.tail.empty()) {
      // Its block may be destroyed by now, and is read again. The copy on the disk is for the next start.
      written.tail_needed = true;
      const std::uint64_t begin = written.synced - written.tail.size();
      static_cast<TailedFile&>(*active->file).set({begin, std::exchange(written.tail, {})});
    }
  }
  if (!failed_.exchange(true)) context_.log(LogLevel::error, fmt::format("the journal has failed, {}", this->cause()));
}

void Health::mend() {
  failed_.store(false);
  context_.log(LogLevel::warn, "the journal works again");
}

}  // namespace sluice::journal
