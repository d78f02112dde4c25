// --check-config: would a start fail? Reads options, names, files and addresses; creates no file, takes no lock and
// serves nothing, so it may run beside the daemon that it checks. One thread.
#pragma once

#include <string>
#include <vector>

#include "options/options.h"

namespace sluiced {

// Throws sluice::StartError with the line for the operator: an unknown name, an address that this host does not have, a
// state directory or sink file that cannot be created or written. Returns remarks, one line each: a resource in use is
// no fault, because a running sluiced may hold it.
[[nodiscard]] std::vector<std::string> check_config(const options::Options& options);

// The remark, also for a start, on network file systems that hold the daemon's own files; one line, mostly empty.
[[nodiscard]] std::string remark_on_files(const options::Options& options);

}  // namespace sluiced
