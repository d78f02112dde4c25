// See the header.
#include "workers/guarded_log.h"

#include <cstdio>
#include <string>

namespace sluice {

namespace {

void to_stderr(LogLevel level, std::string_view line) {
  if (level != LogLevel::error && level != LogLevel::warn) return;
  // One call, so that concurrent lines do not mix. A stderr that cannot be written is ignored.
  const std::string text = "sluice: " + std::string(line) + "\n";
  static_cast<void>(std::fputs(text.c_str(), stderr));
}

}  // namespace

GuardedLog::GuardedLog(LogHook hook) : hook_(hook ? std::move(hook) : LogHook(to_stderr)) {}

}  // namespace sluice
