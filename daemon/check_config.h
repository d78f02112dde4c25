// --check-config: whether a start would fail, without one. Reads options, names, files and addresses; makes no file,
// takes no lock and serves nothing, so that it may run beside the daemon that it is about. One thread.
#pragma once

#include <string>
#include <vector>

#include "http/server.h"
#include "options/options.h"

namespace sluiced {

// A listen address with the flag that named it.
struct FlagAddress {
  std::string flag;
  http::Address address;
};

// Throws sluice::StartError with the line that the operator shall see: for a name that is not known, an address that
// cannot be had here, a state directory or a sink's file that cannot be made or written. What is only in use now is no
// fault, since a running sluiced may be the reason: that is remarked, a line each.
[[nodiscard]] std::vector<std::string> check_config(const options::Options& options,
                                                    const std::vector<FlagAddress>& addresses);

// What is to be said, at a start too, of the file systems that the daemon's own files are on; one line, mostly empty.
[[nodiscard]] std::string remark_on_files(const options::Options& options);

}  // namespace sluiced
