// Finds the admin listener for a command: the address on the command line, else the first default socket that accepts a
// connection. Connects and sends nothing; one thread. If none accepts, returns the address that makes the clearest
// error message.
#pragma once

#include <string_view>

#include "ctl/arguments.h"

namespace sluicectl {

// `otherwise`: an address to fall back to unless a state directory was named; empty: none.
[[nodiscard]] Address find_admin(const Arguments& arguments, std::string_view otherwise);

}  // namespace sluicectl
