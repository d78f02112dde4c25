// Which version of the library this program runs with (a shared one may be newer than the headers it was built with).
#pragma once

#include <string_view>

#include "sluice/api.h"

namespace sluice {

// "MAJOR.MINOR.PATCH". Before 1.0 a new MINOR may change what is declared here, from then on a new MAJOR. Any thread.
[[nodiscard]] SLUICE_API std::string_view version() noexcept;

}  // namespace sluice
