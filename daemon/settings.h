// The options, in the terms of each part that they configure. Pure functions, but for environment(); one thread. An
// address that is no address is refused with StartError, naming its flag.
#pragma once

#include <vector>

#include "http/server.h"
#include "log/line.h"
#include "log/log.h"
#include "options/options.h"
#include "sluice/options.h"

namespace sluiced {

// Reads the process's environment, and raises its limit of open files to the most that is allowed.
[[nodiscard]] options::Environment environment();

[[nodiscard]] std::vector<http::Address> intake_addresses(const options::Options& options);

// Those of --admin; then the default unix socket, if --admin names none: the actions are served on unix sockets only.
[[nodiscard]] std::vector<http::Address> admin_addresses(const options::Options& options);

[[nodiscard]] log::Format log_format(const options::Options& options);
[[nodiscard]] sluice::Options tracker_options(const options::Options& options, const log::Log& log);
[[nodiscard]] http::Config intake_config(const options::Options& options, const log::Log& log);
[[nodiscard]] http::Config admin_config(const options::Options& options, const log::Log& log);

}  // namespace sluiced
