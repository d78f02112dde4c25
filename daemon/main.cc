// sluiced: parse the options, build the parts, serve until a signal, stop, report. One thread; the parts have theirs.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <string>
#include <variant>
#include <vector>

#include "check_config.h"
#include "host/service_manager.h"
#include "host/standard_streams.h"
#include "host/stop_signals.h"
#include "log/log.h"
#include "options/options.h"
#include "parts.h"
#include "refusal.h"
#include "settings.h"
#include "sluice/error.h"
#include "stop.h"

namespace sluiced {
namespace {

int check(const options::Options& options) {
  for (const std::string& remark : check_config(options)) host::complain({"sluiced: ", remark});
  return 0;
}

int serve(const options::Options& options, host::StopSignals& signals, host::ServiceManager& manager) {
  log::Log log(STDERR_FILENO, log_format(options), options.log_level);
  if (!options.remark.empty()) log.write(sluice::LogLevel::warn, options.remark);
  Parts parts(options, log, signals, manager);
  while (parts.wait_signals(std::chrono::hours{1}) == 0) {
  }
  const Stopped stopped = stop(parts);
  if (stopped.left_behind) ::_exit(stopped.code);
  return stopped.code;
}

int run(const options::Options& options) {
  host::StopSignals signals(options.unready_delay + options.drain_timeout);
  host::ServiceManager manager;
  try {
    return serve(options, signals, manager);
  } catch (const sluice::StartError& error) {
    const int code = refuse(error);
    // Every resource is released by now. A stop signal ends the wait, also one that came during the start.
    if (!is_final(error)) static_cast<void>(signals.wait(manager.start_failed(error.what())));
    return code;
  }
}

}  // namespace
}  // namespace sluiced

int main(int argc, char** argv) {
  sluiced::host::open_standard_streams();  // before any other descriptor is opened
  try {
    const std::vector<const char*> args(argv + std::min(1, argc), argv + argc);
    auto parsed = sluiced::options::parse(args, sluiced::environment());
    if (const auto* const exit = std::get_if<sluiced::options::Exit>(&parsed)) return sluiced::answer(*exit);
    const auto& options = std::get<sluiced::options::Options>(parsed);
    return options.check_config ? sluiced::check(options) : sluiced::run(options);
  } catch (const sluice::StartError& error) {
    return sluiced::refuse(error);
  } catch (const std::exception& error) {
    sluiced::host::complain({"sluiced: ", error.what()});
    return 70;
  }
}
